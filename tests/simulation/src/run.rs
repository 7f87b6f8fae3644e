//! The course of a run: trouble, rest, judgement, and the end of everything.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::client::Mode;
use crate::properties::{Rest, Tally};
use crate::random::Random;
use crate::setting::{SECOND, Setting};
use crate::store::{Backend, Durable, Model, Storage};
use crate::world::World;

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What is wrong, if anything.
    pub failure: Option<String>,
    /// A number that differs if the run was another.
    pub digest: u64,
    /// How many things happened to clients.
    pub fact_count: u64,
    /// How many times the broker died.
    pub crash_count: u64,
    /// How much was judged.
    pub tally: Tally,
    /// What happened, if that was asked for.
    pub trace: Vec<String>,
}

/// Runs a seed.
pub fn run(seed: u64, storage: Storage, traces: bool) -> Outcome {
    let mut world = world_of(seed, storage, traces);
    let end = catch_unwind(AssertUnwindSafe(|| live(&mut world)));
    if let Err(panic) = end {
        let why = panic.downcast_ref::<String>().map(String::as_str);
        let why = why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        world.judge.fail(format!("panic: {why}"));
    }
    Outcome {
        failure: world.judge.failure().map(str::to_owned),
        digest: world.digest(),
        fact_count: world.judge.fact_count(),
        crash_count: world.crash_count,
        tally: world.judge.tally(),
        trace: world.judge.take_trace(),
    }
}

fn world_of(seed: u64, storage: Storage, traces: bool) -> World {
    let mut random = Random::new(seed);
    let mut setting = Setting::draw(&mut random);
    setting.add_inspector();
    let (limits, disk, fork) = (setting.queue_limits(), setting.disk, random.fork());
    let backend: Box<dyn Backend> = match storage {
        Storage::Model => Box::new(Model::new(limits, disk, fork)),
        Storage::Log => Box::new(Durable::new(limits, disk, false, fork)),
        Storage::LyingDisk => Box::new(Durable::new(limits, disk, true, fork)),
    };
    World::new(setting, backend, random, traces)
}

fn live(world: &mut World) {
    world.judge.say(|| format!("{:#?}", world.setting));
    let inspector = world.clients.len() - 1;
    world.set_mode(inspector, Mode::Gone);
    world.run_until(world.setting.active_micros);
    world.end_trouble();
    for client in 0..inspector {
        world.set_mode(client, Mode::Settling);
    }
    come_to_rest(world, "it does not come to rest");
    // Wills that are under way come at last.
    world.run_until(world.now + WILLS_MICROS);
    come_to_rest(world, "it does not come to rest again");
    world.set_mode(inspector, Mode::Inspecting);
    come_to_rest(world, "what is retained is not all delivered");
    let (now, dropped, is_uncounted) = (world.now, world.dropped(), world.crash_count > 0);
    if world.judge.failure().is_none() {
        world.judge.judge_rest(&Rest { now, dropped, is_uncounted });
    }
    for client in 0..inspector {
        world.set_mode(client, Mode::Leaving);
    }
    come_to_rest(world, "not all clients can leave");
    world.set_mode(inspector, Mode::Clearing);
    come_to_rest(world, "what is retained cannot be removed");
    world.set_mode(inspector, Mode::Leaving);
    come_to_rest(world, "the last client cannot leave");
    world.run_until(world.now + LINGER_MICROS);
    if world.judge.failure().is_none() {
        check_nothing_is_left(world);
    }
}

/// Lets everything happen until nothing is under way.
fn come_to_rest(world: &mut World, otherwise: &str) {
    let patience = world.now + PATIENCE_MICROS;
    let mut rests = 0;
    while world.judge.failure().is_none() && rests < 2 {
        if world.now > patience {
            let census = world.house.as_ref().map(|house| house.census());
            let busy = census.into_iter().flat_map(|it| it.0).filter(|it| it.1 > 0);
            let busy: Vec<_> = busy.collect();
            let restless: Vec<_> = world.clients.iter().filter(|it| !it.is_at_rest()).collect();
            let store = world.backend.next_at();
            let why = format!("{otherwise}: {busy:?}, {restless:?}, store at {store:?}");
            return world.judge.fail(why);
        }
        world.run_until(world.now + REST_MICROS);
        rests = if world.is_at_rest() { rests + 1 } else { 0 };
    }
}

/// Nobody is there, and nothing is kept for anyone.
fn check_nothing_is_left(world: &mut World) {
    let census = world.house.as_ref().map(|house| house.census());
    let left: Vec<_> = census.into_iter().flat_map(|it| it.0).filter(|it| it.1 > 0).collect();
    if !left.is_empty() {
        return world.judge.fail(format!("nobody is there, and yet the broker has {left:?}"));
    }
    let stored = world.backend.leftovers();
    if !stored.is_empty() {
        world.judge.fail(format!("nobody is there, and yet the store has {stored:?}"));
    }
}

/// It is looked this often whether all is at rest.
const REST_MICROS: u64 = SECOND / 5;

/// Rest comes within this time.
const PATIENCE_MICROS: u64 = 200 * SECOND;

/// The longest delay of a will, and the longest grace after a restart.
const WILLS_MICROS: u64 = 20 * SECOND;

/// Connections linger for two seconds.
const LINGER_MICROS: u64 = 5 * SECOND;
