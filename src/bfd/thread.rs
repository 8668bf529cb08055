//! The loop of the thread: packets in, timers, orders, and asleep until the next.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver as Orders, TryRecvError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::EventFd;
use nix::sys::time::TimeSpec;
use tracing::{debug, error};

use super::report::Drops;
use super::table::Table;
use super::{Order, Wanted};

/// How long it rests after a fault of ours.
const PANIC_REST: Duration = Duration::from_secs(1);

/// Runs until it is told to stop, or nobody can tell it anything any more.
pub(super) fn run(orders: &Orders<Order>, wake: &EventFd, drops: &Arc<Drops>, faults: &AtomicU64) {
    let is_real_time = ask_for_precedence();
    debug!(is_real_time, "BFD thread");
    let mut wanted: Vec<Wanted> = Vec::new();
    loop {
        let mut table = Table::new(Arc::clone(drops));
        let work = AssertUnwindSafe(|| {
            table.set(wanted.clone(), Instant::now());
            work(&mut table, &mut wanted, orders, wake);
        });
        if catch_unwind(work).is_ok() {
            return;
        }
        faults.fetch_add(1, Ordering::Relaxed);
        error!("a fault of ours: the BFD sessions start anew");
        std::thread::sleep(PANIC_REST);
    }
}

fn work(table: &mut Table, wanted: &mut Vec<Wanted>, orders: &Orders<Order>, wake: &EventFd) {
    loop {
        // Before timers: who has sent something is not silent, however late it is read.
        table.receive();
        table.run_timers(Instant::now());
        loop {
            match orders.try_recv() {
                Ok(Order::Set(sessions)) => {
                    wanted.clone_from(&sessions);
                    table.set(sessions, Instant::now());
                }
                Ok(Order::Stop(done)) => {
                    table.set(Vec::new(), Instant::now());
                    // Nobody may be waiting any more.
                    let _ = done.send(());
                    return;
                }
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    table.set(Vec::new(), Instant::now());
                    return;
                }
            }
        }
        sleep(table, wake);
    }
}

/// Sleeps until a packet or an order comes, or a timer is due.
fn sleep(table: &Table, wake: &EventFd) {
    let sockets = table.receivers();
    let mut waits: Vec<PollFd<'_>> =
        sockets.map(|socket| PollFd::new(socket, PollFlags::POLLIN)).collect();
    waits.push(PollFd::new(std::os::fd::AsFd::as_fd(wake), PollFlags::POLLIN));
    let left = table.deadline().map(|at| at.saturating_duration_since(Instant::now()));
    match ppoll(&mut waits, left.map(TimeSpec::from_duration), None) {
        // It is of no use to be told the same again.
        Ok(_) => drop(wake.read()),
        Err(error) => debug!(%error, "interrupted"),
    }
}

/// Asks to be run before others: a machine that is busy with other things shall not make
/// peers think that it is gone. Where that is not allowed, which the answer says, it works
/// nevertheless.
pub(super) fn ask_for_precedence() -> bool {
    let priority = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_RR | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the kernel reads one sched_param, which lives until the call returns. No crate
    // wraps it, and musl's own function refuses.
    let refused = unsafe {
        libc::syscall(libc::SYS_sched_setscheduler, 0, policy, std::ptr::from_ref(&priority))
    };
    refused == 0
}
