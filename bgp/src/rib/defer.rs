//! What peers that keep our routes over our restart are not told yet (RFC 4724 §4.1).
//!
//! They go on with what we told before until our End-of-RIB; so what others tell us can be
//! heard whole before any of it is passed on. What is our own is told at once: nothing that
//! is still to be heard can change it. Peers that do not keep our routes are told everything.

use super::Rib;

impl Rib {
    /// We have restarted: until [`Rib::end_deferral`], peers with which graceful restart is
    /// agreed are told what is our own and nothing more, and no End-of-RIB.
    pub fn defer(&mut self) {
        self.deferring = true;
    }

    /// Whether something is kept back.
    pub fn is_deferring(&self) -> bool {
        self.deferring
    }

    /// Enough was heard: tells everybody everything, and End-of-RIB behind it.
    pub fn end_deferral(&mut self) {
        if !std::mem::take(&mut self.deferring) {
            return;
        }
        self.treat_all();
    }
}
