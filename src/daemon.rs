//! Builds the parts, joins them, stops them in order.
