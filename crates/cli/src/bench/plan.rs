//! Who connects, who subscribes to what, who publishes what: a scenario spelled out.
//!
//! A flow is one publisher's messages on one topic. All receivers of a flow are in the worker of its
//! publisher, so that a closed loop needs nothing from another thread.

use std::ops::Range;
use std::time::Duration;

use quelea_codec::QoS;

use super::args::{Args, Scenario};
use super::pacing::Pacing;

mod sleepers;

pub(crate) use sleepers::{returning, visitors};

/// A whole run.
#[derive(Debug)]
pub(crate) struct Plan {
    /// One for each thread.
    pub workers: Vec<WorkerPlan>,
    /// Clients that publish.
    pub publisher_count: u32,
    /// Clients that subscribe.
    pub subscriber_count: u32,
}

/// The part of one thread.
#[derive(Debug)]
pub(crate) struct WorkerPlan {
    /// What its messages are counted as.
    pub stream: Stream,
    /// In the order in which they connect: subscribers first.
    pub clients: Vec<ClientPlan>,
    /// Flows, the first of which has the number `first_flow` in the run.
    pub flows: Vec<FlowPlan>,
    /// Number of the first flow.
    pub first_flow: u32,
    /// How many sequences of arrivals are checked.
    pub arrivals_count: u32,
    /// How many messages of each flow were sent earlier, by others: `flows` is empty then.
    pub sent_before: Vec<u32>,
}

/// Whose figures a worker's figures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// The load that the scenario is named for.
    Load,
    /// The pair beside the flood.
    Bystander,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct ClientPlan {
    /// Client identifier.
    pub client_id: String,
    /// What it subscribes to.
    pub subscription: Option<Subscription>,
}

/// What a client subscribes to, and which flows reach it.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Topic filter.
    pub filter: String,
    /// Number, in the run, of the first flow that it receives.
    pub first_flow: u32,
    /// How many flows it receives.
    pub flow_count: u32,
    /// Where the first of these flows is checked, among the worker's sequences of arrivals.
    pub first_arrivals: u32,
    /// Which messages of a flow it receives.
    pub share: Share,
    /// Whether order is promised: not to the members of a group.
    pub is_ordered: bool,
}

/// Every so many messages of a flow, one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    /// 1 for all messages.
    pub of: u32,
    /// The number of the first, below `of`.
    pub first: u32,
}

/// One publisher's messages on one topic, or on several in turn.
#[derive(Debug)]
pub(crate) struct FlowPlan {
    /// The publisher, an index into the worker's clients.
    pub client: usize,
    /// Topic name.
    pub topic: String,
    /// Numbers for the end of the topic name, one after the other; none to leave it as it is.
    pub topics: Range<u32>,
    /// QoS of its messages.
    pub qos: QoS,
    /// How many deliveries one message makes.
    pub receiver_count: u32,
    /// When it sends.
    pub pacing: Pacing,
}

impl Plan {
    /// Spells out what `args` ask for. `run` keeps topics and client identifiers of runs apart.
    pub(crate) fn new(args: &Args, run: u32) -> Self {
        let names = Names { run };
        let count = args.client_count();
        let workers = match args.scenario() {
            Scenario::Pairs => split(count, args.threads)
                .map(|(first, end)| pairs(args, names, first..end))
                .collect(),
            Scenario::Fanout => vec![fanout(args, names, count)],
            Scenario::Fanin => vec![fanin(args, names, count)],
            Scenario::Shared => vec![shared(args, names, count)],
            Scenario::Idle => split(count, args.threads)
                .map(|(first, end)| idle(args, names, first..end))
                .collect(),
            Scenario::Storm => {
                split(count, args.threads).map(|(first, end)| storm(names, first..end)).collect()
            }
            Scenario::Flood => vec![fanout(args, names, count), bystander(args, names)],
            Scenario::Sleepers => vec![sleepers::publishers(args, names)],
        };
        Self::of(workers)
    }

    /// Returns the plan that connects the same clients and does nothing else.
    pub(crate) fn without_traffic(&self) -> Self {
        let quiet = |worker: &WorkerPlan| WorkerPlan {
            stream: worker.stream,
            clients: worker.clients.iter().map(|it| client(it.client_id.clone())).collect(),
            flows: Vec::new(),
            first_flow: 0,
            arrivals_count: 0,
            sent_before: Vec::new(),
        };
        Self::of(self.workers.iter().map(quiet).collect())
    }

    /// Returns the number of connections.
    pub(crate) fn connection_count(&self) -> u32 {
        self.workers.iter().map(|it| it.clients.len() as u32).sum()
    }

    fn of(workers: Vec<WorkerPlan>) -> Self {
        let mut publisher_count = 0;
        let mut subscriber_count = 0;
        for worker in &workers {
            let mut publishers: Vec<usize> = worker.flows.iter().map(|it| it.client).collect();
            publishers.dedup();
            publisher_count += publishers.len() as u32;
            let subscribers = worker.clients.iter().filter(|it| it.subscription.is_some());
            subscriber_count += subscribers.count() as u32;
        }
        Self { workers, publisher_count, subscriber_count }
    }
}

impl Share {
    /// All messages.
    pub(crate) const ALL: Self = Self { of: 1, first: 0 };

    /// Returns the place of message `sequence` among those of the share, if it is one.
    #[inline]
    pub(crate) fn place(self, sequence: u32) -> Option<u32> {
        (sequence % self.of == self.first).then(|| sequence / self.of)
    }

    /// Returns how many of a flow's first `sent_count` messages it has.
    pub(crate) fn count(self, sent_count: u32) -> u32 {
        (sent_count + self.of - 1 - self.first) / self.of
    }
}

/// The names of one run.
#[derive(Clone, Copy)]
struct Names {
    run: u32,
}

impl Names {
    /// At most 23 characters, which is all that MQTT 3.1 allows.
    fn client(self, role: char, number: u32) -> String {
        format!("qb{:06x}{role}{number}", self.run & 0x00FF_FFFF)
    }

    fn topic(self, part: impl std::fmt::Display) -> String {
        format!("quelea-bench/{:06x}/{part}", self.run & 0x00FF_FFFF)
    }
}

fn pairs(args: &Args, names: Names, numbers: Range<u32>) -> WorkerPlan {
    let first_flow = numbers.start;
    let count = numbers.len() as u32;
    let subscribers = numbers.clone().map(|number| ClientPlan {
        client_id: names.client('s', number),
        subscription: Some(Subscription {
            filter: names.topic(number),
            first_flow: number,
            flow_count: 1,
            first_arrivals: number - first_flow,
            share: Share::ALL,
            is_ordered: true,
        }),
    });
    let publishers = numbers.clone().map(|it| client(names.client('p', it)));
    let flows = numbers.clone().map(|number| FlowPlan {
        client: (count + number - first_flow) as usize,
        topic: names.topic(number),
        topics: 0..0,
        qos: args.qos(),
        receiver_count: 1,
        pacing: pacing(args, number, args.client_count()),
    });
    WorkerPlan {
        stream: Stream::Load,
        clients: subscribers.chain(publishers).collect(),
        flows: flows.collect(),
        first_flow,
        arrivals_count: count,
        sent_before: Vec::new(),
    }
}

fn fanout(args: &Args, names: Names, count: u32) -> WorkerPlan {
    let topic = names.topic("all");
    let receivers = (0..count).map(|number| receiver_of_all(names, number, 0, &topic));
    WorkerPlan {
        stream: Stream::Load,
        clients: receivers.chain([client(names.client('p', 0))]).collect(),
        flows: vec![FlowPlan {
            client: count as usize,
            topic: topic.clone(),
            topics: 0..0,
            qos: args.qos(),
            receiver_count: count,
            pacing: pacing(args, 0, 1),
        }],
        first_flow: 0,
        arrivals_count: count,
        sent_before: Vec::new(),
    }
}

fn fanin(args: &Args, names: Names, count: u32) -> WorkerPlan {
    let receiver = ClientPlan {
        client_id: names.client('s', 0),
        subscription: Some(Subscription {
            filter: names.topic("in/+"),
            first_flow: 0,
            flow_count: count,
            first_arrivals: 0,
            share: Share::ALL,
            is_ordered: true,
        }),
    };
    let publishers = (0..count).map(|it| client(names.client('p', it)));
    let flows = (0..count).map(|number| FlowPlan {
        client: 1 + number as usize,
        topic: names.topic(format_args!("in/{number}")),
        topics: 0..0,
        qos: args.qos(),
        receiver_count: 1,
        pacing: pacing(args, number, count),
    });
    WorkerPlan {
        stream: Stream::Load,
        clients: [receiver].into_iter().chain(publishers).collect(),
        flows: flows.collect(),
        first_flow: 0,
        arrivals_count: count,
        sent_before: Vec::new(),
    }
}

/// The members have their arrivals in common: each message comes to one of them.
fn shared(args: &Args, names: Names, count: u32) -> WorkerPlan {
    let members = (0..args.members).map(|number| ClientPlan {
        client_id: names.client('s', number),
        subscription: Some(Subscription {
            filter: format!("$share/bench/{}", names.topic("work/+")),
            first_flow: 0,
            flow_count: count,
            first_arrivals: 0,
            share: Share::ALL,
            is_ordered: false,
        }),
    });
    let publishers = (0..count).map(|it| client(names.client('p', it)));
    let flows = (0..count).map(|number| FlowPlan {
        client: (args.members + number) as usize,
        topic: names.topic(format_args!("work/{number}")),
        topics: 0..0,
        qos: args.qos(),
        receiver_count: 1,
        pacing: pacing(args, number, count),
    });
    WorkerPlan {
        stream: Stream::Load,
        clients: members.chain(publishers).collect(),
        flows: flows.collect(),
        first_flow: 0,
        arrivals_count: count,
        sent_before: Vec::new(),
    }
}

/// Each worker has a publisher and a topic of its own for the broadcast to its part.
fn idle(args: &Args, names: Names, numbers: Range<u32>) -> WorkerPlan {
    let count = numbers.len() as u32;
    let once = Pacing::Once { at_ns: args.duration.as_nanos() as u64 };
    let flow = |topic, receiver_count, qos| FlowPlan {
        client: count as usize,
        topic,
        topics: 0..0,
        qos,
        receiver_count,
        pacing: once,
    };
    let publisher = client(names.client('p', numbers.start));
    if args.distinct {
        let mut worker = pairs(args, names, numbers);
        worker.clients.truncate(count as usize);
        worker.clients.push(publisher);
        for planned in &mut worker.flows {
            // A client's flows number their packets separately, so that several of one client have QoS 0.
            *planned = flow(std::mem::take(&mut planned.topic), 1, QoS::AtMostOnce);
        }
        return worker;
    }
    let first = numbers.start;
    let topic = names.topic(format_args!("all/{first}"));
    let receivers = numbers.map(|number| {
        let mut receiver = receiver_of_all(names, number, first, &topic);
        if let Some(subscription) = &mut receiver.subscription {
            subscription.first_flow = first;
        }
        receiver
    });
    WorkerPlan {
        stream: Stream::Load,
        clients: receivers.chain([publisher]).collect(),
        flows: vec![flow(topic.clone(), count, args.qos())],
        first_flow: first,
        arrivals_count: count,
        sent_before: Vec::new(),
    }
}

fn storm(names: Names, numbers: Range<u32>) -> WorkerPlan {
    WorkerPlan {
        stream: Stream::Load,
        clients: numbers.map(|it| client(names.client('c', it))).collect(),
        flows: Vec::new(),
        first_flow: 0,
        arrivals_count: 0,
        sent_before: Vec::new(),
    }
}

fn bystander(args: &Args, names: Names) -> WorkerPlan {
    let topic = names.topic("bystander");
    let subscriber = ClientPlan {
        client_id: names.client('b', 0),
        subscription: Some(Subscription {
            filter: topic.clone(),
            first_flow: 1,
            flow_count: 1,
            first_arrivals: 0,
            share: Share::ALL,
            is_ordered: true,
        }),
    };
    WorkerPlan {
        stream: Stream::Bystander,
        clients: vec![subscriber, client(names.client('b', 1))],
        flows: vec![FlowPlan {
            client: 1,
            topic,
            topics: 0..0,
            qos: args.qos(),
            receiver_count: 1,
            pacing: Pacing::even(BYSTANDER_RATE, Duration::ZERO, 0, 1),
        }],
        first_flow: 1,
        arrivals_count: 1,
        sent_before: Vec::new(),
    }
}

fn client(client_id: String) -> ClientPlan {
    ClientPlan { client_id, subscription: None }
}

fn receiver_of_all(names: Names, number: u32, first: u32, topic: &str) -> ClientPlan {
    ClientPlan {
        client_id: names.client('s', number),
        subscription: Some(Subscription {
            filter: topic.to_owned(),
            first_flow: 0,
            flow_count: 1,
            first_arrivals: number - first,
            share: Share::ALL,
            is_ordered: true,
        }),
    }
}

fn pacing(args: &Args, flow: u32, flow_count: u32) -> Pacing {
    match (args.rate, args.closed_window()) {
        (Some(rate), _) => Pacing::even(rate, args.ramp.unwrap_or_default(), flow, flow_count),
        (None, window) => Pacing::Closed { window: window.unwrap_or(1) },
    }
}

/// Divides `count` things into `parts` ranges that differ by one at most.
fn split(count: u32, parts: u32) -> impl Iterator<Item = (u32, u32)> {
    let at = move |part: u32| (u64::from(count) * u64::from(part) / u64::from(parts)) as u32;
    (0..parts).map(move |part| (at(part), at(part + 1)))
}

/// Messages a second of the pair beside the flood.
const BYSTANDER_RATE: f64 = 1_000.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scenario_has_its_clients() {
        check("pairs --clients 3", 3, 3);
        check("fanout --clients 5", 1, 5);
        check("fanin --clients 5", 5, 1);
        check("shared --clients 2 --members 3", 2, 3);
        check("idle --clients 7", 1, 7);
        check("idle --clients 7 --threads 2", 2, 7);
        check("idle --clients 7 --distinct", 1, 7);
        check("storm --clients 9", 0, 0);
        check("flood --clients 10", 2, 11);
        check("sleepers --qos 1 --clients 10 --publishers 3", 3, 0);
        check("pairs --clients 7 --threads 3", 7, 7);
    }

    #[test]
    fn every_flow_reaches_as_many_as_it_says() {
        for line in [
            "pairs --clients 7 --threads 3",
            "fanout",
            "fanin",
            "idle --clients 9 --threads 2",
            "idle --clients 9 --distinct",
            "flood",
        ] {
            for worker in plan(line).workers {
                for (index, flow) in worker.flows.iter().enumerate() {
                    let number = worker.first_flow + index as u32;
                    let reached = worker.clients.iter().filter(|client| {
                        client.subscription.as_ref().is_some_and(|it| {
                            (it.first_flow..it.first_flow + it.flow_count).contains(&number)
                        })
                    });
                    assert_eq!(
                        reached.count() as u32,
                        flow.receiver_count,
                        "{line}: flow {number}"
                    );
                    assert!(worker.clients[flow.client].subscription.is_none());
                }
            }
        }
    }

    #[test]
    fn client_identifiers_are_short_and_distinct() {
        let plan = plan("pairs --clients 1000");
        let mut ids: Vec<&str> =
            plan.workers[0].clients.iter().map(|it| it.client_id.as_str()).collect();
        assert!(ids.iter().all(|it| it.len() <= 23));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 2_000);
    }

    #[test]
    fn a_share_has_its_part_of_the_messages() {
        let shares = [0, 1, 2].map(|first| Share { of: 3, first });
        assert_eq!(shares.map(|it| it.count(7)), [3, 2, 2]);
        assert_eq!(shares.map(|it| it.count(0)), [0, 0, 0]);
        assert_eq!(shares[1].place(7), Some(2));
        assert_eq!(shares[1].place(6), None);
    }

    #[track_caller]
    fn check(line: &str, publisher_count: u32, subscriber_count: u32) {
        let plan = plan(line);
        assert_eq!(plan.publisher_count, publisher_count, "publishers of {line}");
        assert_eq!(plan.subscriber_count, subscriber_count, "subscribers of {line}");
    }

    fn plan(line: &str) -> Plan {
        Plan::new(&args(line), 0xABC)
    }

    pub(super) fn args(line: &str) -> Args {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: Args,
        }
        let words = std::iter::once("bench").chain(line.split(' '));
        <Line as clap::Parser>::parse_from(words).args
    }
}
