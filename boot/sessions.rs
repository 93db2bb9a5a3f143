//! Where the futures of TLS sessions live: in static memory, for ever. A future borrows from itself and so must never
//! move; on a stack one could pin it without `unsafe`, but the agent keeps its sessions for longer than any frame of ours.

use crate::once::Once;
use core::mem::MaybeUninit;
use core::pin::Pin;
use outpost::limits::{TLS_CHECKS, TLS_FUTURE};
use outpost::watch::tls::{Buffers, Session, Sessions, Slot, attend};

/// Room for one future.
#[repr(C, align(16))]
struct Room(MaybeUninit<[u8; TLS_FUTURE]>);

/// All sessions there are; none when it is called again.
#[inline(never)]
pub fn make() -> Sessions<'static> {
    static SLOTS: [Slot; TLS_CHECKS] = [const { Slot::new() }; TLS_CHECKS];
    static BUFFERS: Once<[Buffers; TLS_CHECKS]> = Once::new([const { Buffers::new() }; TLS_CHECKS]);
    static ROOMS: Once<[Room; TLS_CHECKS]> = Once::new([const { Room(MaybeUninit::uninit()) }; TLS_CHECKS]);
    let (Some(buffers), Some(rooms)) = (BUFFERS.take(), ROOMS.take()) else { return Sessions::new() };
    let parts = SLOTS.iter().zip(buffers).zip(rooms);
    parts.map(|((slot, buffers), room)| Session::new(slot, place(attend(slot, buffers), room))).collect()
}

/// Puts a future where it stays.
fn place<F: Future + 'static>(future: F, room: &'static mut Room) -> Pin<&'static mut F> {
    const { assert!(size_of::<F>() <= size_of::<Room>() && align_of::<F>() <= align_of::<Room>()) };
    let place: *mut MaybeUninit<F> = (&raw mut room.0).cast();
    // SAFETY: the room is large enough and aligned as is asserted above, and this is the only reference to it.
    let place = unsafe { &mut *place };
    let future = place.write(future);
    // SAFETY: what is static never moves and is never dropped, and only the pin is given out.
    unsafe { Pin::new_unchecked(future) }
}
