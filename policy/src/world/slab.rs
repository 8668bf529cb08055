//! Things under small numbers, so that indexes hold four octets and not a name.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

/// The number of a thing in a [`Slab`]; used again when the thing is gone.
pub(super) struct Number<T>(u32, PhantomData<fn() -> T>);

impl<T> Number<T> {
    /// No other sorts before it.
    pub(super) const FIRST: Self = Self(0, PhantomData);
}

/// Things by number.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    /// Takes a thing in.
    pub(super) fn insert(&mut self, thing: T) -> Number<T> {
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("memory ends before the numbers do")
        });
        self.slots[number as usize] = Some(thing);
        Number(number, PhantomData)
    }

    /// Lets a thing go. No index may hold the number any more.
    pub(super) fn remove(&mut self, number: Number<T>) {
        self.slots[number.0 as usize] = None;
        self.free.push(number.0);
    }
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Index<Number<T>> for Slab<T> {
    type Output = T;

    fn index(&self, number: Number<T>) -> &T {
        self.slots[number.0 as usize].as_ref().expect("indexes hold numbers of what is there")
    }
}

impl<T> IndexMut<Number<T>> for Slab<T> {
    fn index_mut(&mut self, number: Number<T>) -> &mut T {
        self.slots[number.0 as usize].as_mut().expect("indexes hold numbers of what is there")
    }
}

// Not derived: these hold whatever `T` is.
impl<T> Clone for Number<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Number<T> {}

impl<T> PartialEq for Number<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Number<T> {}

impl<T> PartialOrd for Number<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Number<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl<T> Hash for Number<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T> fmt::Debug for Number<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}
