//! A queue by time whose equal elements come out in the order in which Java's `java.util.PriorityQueue` gives them.
//!
//! That order is neither first in, first out nor documented; it follows from how the binary heap is sifted. Kafka Streams
//! keeps a task's inputs and its punctuation schedules in such queues, so the order is visible in results.

pub(crate) struct JavaQueue<T> {
    heap: Vec<(i64, T)>,
}

impl<T> Default for JavaQueue<T> {
    fn default() -> Self {
        JavaQueue { heap: Vec::new() }
    }
}

impl<T> JavaQueue<T> {
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// The earliest element and its time.
    #[inline]
    pub(crate) fn peek(&self) -> Option<&(i64, T)> {
        self.heap.first()
    }

    /// `PriorityQueue#offer`.
    #[inline]
    pub(crate) fn offer(&mut self, time: i64, element: T) {
        self.heap.push((time, element));
        let mut at = self.heap.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if time >= self.heap[parent].0 {
                break;
            }
            self.heap.swap(at, parent);
            at = parent;
        }
    }

    /// `PriorityQueue#poll`.
    #[inline]
    pub(crate) fn poll(&mut self) -> Option<(i64, T)> {
        if self.heap.is_empty() {
            return None;
        }
        let earliest = self.heap.swap_remove(0);
        let mut at = 0;
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            if left >= self.heap.len() {
                break;
            }
            let child = match self.heap.get(right) {
                Some((time, _)) if *time < self.heap[left].0 => right,
                _ => left,
            };
            if self.heap[at].0 <= self.heap[child].0 {
                break;
            }
            self.heap.swap(at, child);
            at = child;
        }
        Some(earliest)
    }

    /// The elements in no particular order.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.heap.iter_mut().map(|(_, element)| element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(queue: &mut JavaQueue<char>) -> String {
        std::iter::from_fn(|| queue.poll().map(|(_, name)| name)).collect()
    }

    /// What `java.util.PriorityQueue` with `Comparator.comparingLong` prints for the same offers.
    #[test]
    fn equal_times_come_out_in_javas_order() {
        for (offers, polled) in [
            (&[(1, 'a'), (1, 'b'), (1, 'c'), (1, 'd')][..], "adcb"),
            (&[(1, 'a'), (1, 'b'), (1, 'c'), (1, 'd'), (1, 'e')], "aedcb"),
            (&[(2, 'a'), (1, 'b'), (2, 'c'), (1, 'd'), (1, 'e')], "bedca"),
            (&[(3, 'a'), (2, 'b'), (1, 'c')], "cba"),
        ] {
            let mut queue = JavaQueue::default();
            for (time, name) in offers {
                queue.offer(*time, *name);
            }
            assert_eq!(drain(&mut queue), polled, "{offers:?}");
        }
    }

    #[test]
    fn what_is_put_back_need_not_come_behind_its_equals() {
        let mut queue = JavaQueue::default();
        for name in ['a', 'b', 'c'] {
            queue.offer(5, name);
        }
        let mut order = String::new();
        for _ in 0..6 {
            let (time, name) = queue.poll().expect("three elements");
            order.push(name);
            queue.offer(time, name);
        }
        assert_eq!(order, "acacac");
        assert_eq!(
            (queue.len(), queue.peek().map(|(time, _)| *time)),
            (3, Some(5))
        );
    }
}
