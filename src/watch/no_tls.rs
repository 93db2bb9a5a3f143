//! TLS in an image that was built without: nothing of it is there. `tls` has the same names, with something behind them;
//! the configuration of such an image refuses the checks that would need it.

use super::probe::Target;
use super::seen::Seen;
use super::stream::Stream;
use core::marker::PhantomData;
use outpost_wire::ProbeReason;
use smoltcp::socket::tcp;

/// None.
#[derive(Default)]
pub struct Sessions<'a>(PhantomData<&'a ()>);

/// None.
#[derive(Default)]
pub struct Lines<'a>(PhantomData<&'a ()>);

impl<'a> Lines<'a> {
    /// None.
    pub const fn new() -> Lines<'a> {
        Lines(PhantomData)
    }

    /// Nothing to take.
    pub fn lend(&mut self, _: Sessions<'a>, _: &[u8; 32], _: bool) {}

    /// Nothing to give back.
    pub fn take(&mut self) -> Sessions<'a> {
        Sessions(PhantomData)
    }

    /// All checks in their order.
    pub const fn begin_poll(&mut self) -> usize {
        0
    }

    /// None.
    pub const fn line(&mut self, _: u8, _: usize, _: Option<i64>) -> Option<Line<'_, 'a>> {
        None
    }
}

/// There is none.
pub enum Line<'l, 'a> {
    /// It cannot be made.
    Never(core::convert::Infallible, PhantomData<&'l &'a ()>),
}

impl Line<'_, '_> {
    const fn never(&self) -> ! {
        let Line::Never(never, _) = self;
        match *never {}
    }

    /// Never called.
    pub const fn begin(&mut self, _: Target<'_>, _: Option<&str>) {
        self.never()
    }

    /// Never called.
    pub const fn poll(&mut self, _: &mut tcp::Socket<'_>) -> bool {
        self.never()
    }

    /// Never called.
    pub const fn judge(&self, _: Target<'_>) -> Result<(), Option<ProbeReason>> {
        self.never()
    }

    /// Never called.
    pub const fn failure(&self) -> Option<ProbeReason> {
        self.never()
    }

    /// Never called.
    pub const fn end(&mut self) -> Option<Seen> {
        self.never()
    }
}

impl Stream for Line<'_, '_> {
    fn send(&mut self, _: &[u8]) -> bool {
        self.never()
    }

    fn receive(&mut self, _: &mut dyn FnMut(&[u8])) -> bool {
        self.never()
    }

    fn is_over(&self) -> bool {
        self.never()
    }
}
