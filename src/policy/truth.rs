//! What can be said of a condition when not all is known.

/// Ordered, so that `min` is "and" and `max` is "or".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Truth {
    /// It does not hold.
    No,
    /// The address behind a name decides, and is not known yet.
    Address,
    /// It cannot be known here.
    Unknown,
    /// It holds.
    Yes,
}

impl Truth {
    /// Is it true of any? Of none it is not.
    pub(super) fn any(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().max().unwrap_or(Self::No)
    }

    /// Is it true of all? Of none it is.
    pub(super) fn all(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().min().unwrap_or(Self::Yes)
    }
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}
