//! What goes wrong in one run, and how often. Each run has a choice of faults: one in which everything fails all the time would
//! never get to the states in which the rarer ones hurt.

use super::random::Random;

/// Probabilities of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    /// At each effect: the process dies.
    pub(super) crash: f64,
    /// At each effect: the thread, or its process, stands still while the others go on.
    pub(super) pause: f64,
    /// For each question or commit: the answer does not come, whether or not it was done.
    pub(super) lost_answer: f64,
    /// For each step of a transaction: the brokers give it up.
    pub(super) abort: f64,
    /// For each batch: it is sent twice, since the first acknowledgement did not come.
    pub(super) duplicate: f64,
    /// For each fetch: nothing comes, or only a part.
    pub(super) slow_fetch: f64,
    /// For each fetch of a restoration.
    pub(super) slow_restore: f64,
    /// Each second: a process is killed.
    pub(super) kill: f64,
    /// Each second: a process is stopped in order and started again.
    pub(super) restart: f64,
    /// Each second: a process stands still.
    pub(super) freeze: f64,
    /// Each second: the group removes a member.
    pub(super) expel: f64,
    /// Each second: the group does not hear of a member for a while.
    pub(super) cut_off: f64,
    /// Each second: a disk is full for a while.
    pub(super) full_disk: f64,
    /// Each second: the brokers answer nobody for a while.
    pub(super) outage: f64,
    /// At each start after a process died: on an empty disk.
    pub(super) lost_disk: f64,
}

impl Faults {
    /// The faults of one run.
    pub(super) fn choose(random: &mut Random) -> Faults {
        let mut some = |often: f64, most: f64| {
            if random.chance(often) {
                // Small ones as often as large ones.
                most * 2_f64.powi(-(random.below(5) as i32))
            } else {
                0.0
            }
        };
        Faults {
            crash: some(0.6, 0.01),
            pause: some(0.6, 0.03),
            lost_answer: some(0.5, 0.1),
            abort: some(0.5, 0.1),
            duplicate: some(0.5, 0.3),
            slow_fetch: some(0.5, 0.5),
            slow_restore: some(0.4, 0.9),
            kill: some(0.5, 0.5),
            restart: some(0.5, 0.5),
            freeze: some(0.4, 0.4),
            expel: some(0.5, 0.5),
            cut_off: some(0.4, 0.4),
            full_disk: some(0.3, 0.3),
            outage: some(0.3, 0.3),
            lost_disk: some(0.4, 0.5),
        }
    }
}
