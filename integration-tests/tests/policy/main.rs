//! Policies as users have them: whole agents and labs, and every rule as the kernel takes it.

mod agent;
mod alone;
mod criteria;
mod lab;
mod seeds;
mod text;
