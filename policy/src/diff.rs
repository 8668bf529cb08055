//! What to do so that the kernel holds what is wanted.
