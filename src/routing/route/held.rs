use crate::config;

/// The routes with the same path.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Their indexes, ascending.
    pub(super) places: Vec<usize>,
    /// Whether one of them depends on the method.
    pub(super) has_methods: bool,
}

impl Held {
    pub(super) fn add(&mut self, place: usize, route: &config::Route) {
        self.places.push(place);
        self.has_methods |= route.methods.is_some();
    }
}
