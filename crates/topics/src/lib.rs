//! Which subscriptions match a topic, and which retained messages match a filter.
