//! Many lists over one fixed set of numbered things; each thing is in at most one list.
//!
//! The connection table uses it three times: by what a connection is doing (so that the oldest is in front), by
//! timer slot, and by hash bucket. Every step is constant time, and empty memory is all zeros, so that it costs
//! nothing in the image.

/// A link: a thing's number plus one, or 0 for none.
type Link = u16;

#[derive(Clone, Copy)]
struct Node {
    previous: Link,
    next: Link,
    /// The list it is in, plus one.
    list: u16,
}

/// `LISTS` lists over the things `0..THINGS`.
pub struct Lists<const LISTS: usize, const THINGS: usize> {
    ends: [(Link, Link); LISTS],
    nodes: [Node; THINGS],
}

impl<const LISTS: usize, const THINGS: usize> Lists<LISTS, THINGS> {
    /// All lists empty.
    pub const fn new() -> Self {
        const { assert!(LISTS < u16::MAX as usize && THINGS < u16::MAX as usize) };
        Lists { ends: [(0, 0); LISTS], nodes: [Node { previous: 0, next: 0, list: 0 }; THINGS] }
    }

    /// The oldest thing of a list.
    #[inline(always)]
    pub fn front(&self, list: usize) -> Option<usize> {
        index(self.ends[list].0)
    }

    /// The thing after this one in its list.
    #[inline(always)]
    pub fn after(&self, thing: usize) -> Option<usize> {
        index(self.nodes[thing].next)
    }

    /// The list a thing is in.
    #[inline(always)]
    pub fn list_of(&self, thing: usize) -> Option<usize> {
        index(self.nodes[thing].list)
    }

    /// Puts a thing at the end of a list, taking it out of the one it was in.
    pub fn push_back(&mut self, list: usize, thing: usize) {
        self.unlink(self.nodes[thing]);
        let link = thing as Link + 1;
        let (head, tail) = self.ends[list];
        self.nodes[thing] = Node { previous: tail, next: 0, list: list as u16 + 1 };
        match index(tail) {
            Some(last) => self.nodes[last].next = link,
            None => self.ends[list].0 = link,
        }
        self.ends[list] = (if head == 0 { link } else { head }, link);
    }

    /// Takes a thing out of the list it is in, if any.
    pub fn remove(&mut self, thing: usize) {
        self.unlink(self.nodes[thing]);
        self.nodes[thing] = Node { previous: 0, next: 0, list: 0 };
    }

    /// Joins what is on either side of this node, if it is in a list.
    #[inline(always)]
    fn unlink(&mut self, Node { previous, next, list }: Node) {
        let Some(list) = index(list) else { return };
        match index(previous) {
            Some(before) => self.nodes[before].next = next,
            None => self.ends[list].0 = next,
        }
        match index(next) {
            Some(after) => self.nodes[after].previous = previous,
            None => self.ends[list].1 = previous,
        }
    }
}

impl<const LISTS: usize, const THINGS: usize> Default for Lists<LISTS, THINGS> {
    fn default() -> Self {
        Lists::new()
    }
}

fn index(link: Link) -> Option<usize> {
    usize::from(link).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaves_like_a_vector_of_vectors() {
        // One wrong link and a connection is lost for ever, or the walk never ends.
        let mut lists = Lists::<4, 16>::new();
        let mut model = vec![vec![]; 4];
        let mut random = 1u64;
        for _ in 0..10_000 {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let (thing, list) = ((random >> 33) as usize % 16, (random >> 45) as usize % 5);
            model.iter_mut().for_each(|members| members.retain(|&member| member != thing));
            if list == 4 {
                lists.remove(thing);
            } else {
                lists.push_back(list, thing);
                model[list].push(thing);
            }
            for (list, members) in model.iter().enumerate() {
                let walk: Vec<_> = core::iter::successors(lists.front(list), |&at| lists.after(at)).collect();
                assert_eq!(&walk, members);
                assert!(members.iter().all(|&member| lists.list_of(member) == Some(list)));
            }
        }
    }
}
