/// The door through which a request arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The transparent proxy.
    Proxy,
    /// Auth requests of a front proxy.
    ForwardAuth,
    /// REST.
    Rest,
    /// The admin page.
    Admin,
}

impl Door {
    /// All doors.
    pub const ALL: [Self; 4] = [Self::Proxy, Self::ForwardAuth, Self::Rest, Self::Admin];

    /// Returns the name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::ForwardAuth => "forward-auth",
            Self::Rest => "rest",
            Self::Admin => "admin",
        }
    }
}
