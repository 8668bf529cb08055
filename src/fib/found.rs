//! Our routes as they are read from the kernel: a million of them, and few places they lead to.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::plan::Routes;
use super::route::{KernelRoute, RouteKey, Target};

/// Distinct targets, each kept once.
#[derive(Clone, Debug, Default)]
pub struct Targets(FxHashSet<Arc<Target>>);

impl Targets {
    /// The one that is kept of all that are equal to this.
    pub fn intern(&mut self, target: Target) -> Arc<Target> {
        if let Some(known) = self.0.get(&target) {
            return known.clone();
        }
        let target = Arc::new(target);
        self.0.insert(target.clone());
        target
    }

    /// Keeps this one, unless an equal one is kept.
    pub fn keep(&mut self, target: &Arc<Target>) {
        if !self.0.contains(target) {
            self.0.insert(target.clone());
        }
    }

    /// Forgets those that nobody else holds.
    pub fn forget_unused(&mut self) {
        self.0.retain(|target| Arc::strong_count(target) > 1);
    }

    /// Whether one of them leaves by this link.
    pub fn uses(&self, link: u32) -> bool {
        self.0.iter().any(|target| target.uses(link))
    }
}

/// Our routes, in the order in which they are read.
#[derive(Debug, Default)]
pub struct Found {
    targets: Targets,
    routes: Vec<(RouteKey, Arc<Target>)>,
}

impl Found {
    /// Nothing yet; routes that lead to one of these targets will share it.
    pub fn new(targets: Targets) -> Self {
        Self { targets, routes: Vec::new() }
    }

    /// Notes a route of ours. One with a type of service is none that we wrote.
    pub fn add(&mut self, route: KernelRoute) {
        if route.tos == 0 {
            let target = self.targets.intern(route.target);
            self.routes.push((route.key, target));
        }
    }

    /// Takes in what was found elsewhere.
    pub fn append(&mut self, mut other: Found) {
        self.routes.append(&mut other.routes);
    }

    /// The routes by key.
    pub fn into_routes(mut self) -> Routes {
        self.routes.sort_unstable_by_key(|(key, _)| *key);
        self.routes.into_iter().collect()
    }
}

impl FromIterator<KernelRoute> for Found {
    fn from_iter<I: IntoIterator<Item = KernelRoute>>(routes: I) -> Self {
        let mut found = Self::default();
        routes.into_iter().for_each(|route| found.add(route));
        found
    }
}
