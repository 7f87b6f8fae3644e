//! Sessions that sleep while messages are sent to them: who visits, who publishes, who returns.
//!
//! With one filter for all, every session gets the messages of every publisher. With a topic for each, a
//! publisher has a part of the sessions, and sends to one after the other.

use std::ops::Range;

use super::super::args::Args;
use super::super::template::TOPIC_DIGITS;
use super::{
    ClientPlan, FlowPlan, Names, Plan, Share, Stream, Subscription, WorkerPlan, client, pacing,
    split,
};

/// Spells out the visit of all sessions: they subscribe, and go away.
pub(crate) fn visitors(args: &Args, run: u32) -> Plan {
    Plan::of(vec![receivers(args, Names { run }, Vec::new())])
}

/// Spells out their return, after so many messages of each flow.
pub(crate) fn returning(args: &Args, run: u32, sent: Vec<u32>) -> Plan {
    Plan::of(vec![receivers(args, Names { run }, sent)])
}

/// Spells out who publishes meanwhile.
pub(super) fn publishers(args: &Args, names: Names) -> WorkerPlan {
    let flows = parts(args).enumerate().map(|(flow, part)| FlowPlan {
        client: flow,
        topic: if args.distinct { topic_of(names, part.start) } else { topic_to_all(names, flow) },
        topics: if args.distinct { part } else { 0..0 },
        qos: args.qos(),
        receiver_count: 0,
        pacing: pacing(args, flow as u32, args.publishers),
    });
    WorkerPlan {
        stream: Stream::Load,
        clients: (0..args.publishers).map(|it| client(names.client('p', it))).collect(),
        flows: flows.collect(),
        first_flow: 0,
        arrivals_count: 0,
        sent_before: Vec::new(),
    }
}

fn receivers(args: &Args, names: Names, sent_before: Vec<u32>) -> WorkerPlan {
    let subscriptions: Vec<Subscription> =
        if args.distinct { of_their_own(args, names) } else { to_all(args, names) };
    let arrivals_count = subscriptions.iter().map(|it| it.flow_count).sum();
    let clients = (0..).zip(subscriptions).map(|(number, subscription)| ClientPlan {
        client_id: names.client('s', number),
        subscription: Some(subscription),
    });
    WorkerPlan {
        stream: Stream::Load,
        clients: clients.collect(),
        flows: Vec::new(),
        first_flow: 0,
        arrivals_count,
        sent_before,
    }
}

fn to_all(args: &Args, names: Names) -> Vec<Subscription> {
    let filter = match args.publishers {
        1 => topic_to_all(names, 0),
        _ => names.topic("sleepers/+"),
    };
    let subscriptions = (0..args.client_count()).map(|number| Subscription {
        filter: filter.clone(),
        first_flow: 0,
        flow_count: args.publishers,
        first_arrivals: number * args.publishers,
        share: Share::ALL,
        is_ordered: true,
    });
    subscriptions.collect()
}

fn of_their_own(args: &Args, names: Names) -> Vec<Subscription> {
    let parts = (0..).zip(parts(args));
    let subscriptions = parts.flat_map(|(flow, part)| {
        let of = part.len() as u32;
        part.clone().map(move |number| Subscription {
            filter: topic_of(names, number),
            first_flow: flow,
            flow_count: 1,
            first_arrivals: number,
            share: Share { of, first: number - part.start },
            is_ordered: true,
        })
    });
    subscriptions.collect()
}

/// Returns the sessions of each publisher, by number.
fn parts(args: &Args) -> impl Iterator<Item = Range<u32>> {
    split(args.client_count(), args.publishers).map(|(first, end)| first..end)
}

fn topic_to_all(names: Names, flow: usize) -> String {
    names.topic(format_args!("sleepers/{flow}"))
}

fn topic_of(names: Names, number: u32) -> String {
    names.topic(format_args!("sleeper/{number:0TOPIC_DIGITS$}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::args;
    use super::*;

    #[test]
    fn every_message_to_all_is_for_each_session() {
        let args = args("sleepers --qos 1 --clients 3 --publishers 2");
        let plan = returning(&args, 7, vec![5, 5]);
        assert_eq!((plan.subscriber_count, plan.publisher_count), (3, 0));
        let worker = &plan.workers[0];
        assert_eq!(worker.arrivals_count, 6);
        let firsts =
            worker.clients.iter().map(|it| it.subscription.as_ref().unwrap().first_arrivals);
        assert_eq!(firsts.collect::<Vec<_>>(), [0, 2, 4]);
    }

    #[test]
    fn with_a_topic_each_every_message_is_for_one_session() {
        let args = args("sleepers --qos 1 --clients 5 --publishers 2 --distinct");
        let plan = Plan::new(&args, 7);
        assert_eq!(plan.publisher_count, 2);
        let receivers = &visitors(&args, 7).workers[0].clients;
        for (number, flow) in (0..).zip(&plan.workers[0].flows) {
            for sequence in 0..9 {
                let topic = flow.topics.start + sequence % flow.topics.len() as u32;
                let reached = (0..).zip(receivers).filter(|(_, receiver)| {
                    let subscription = receiver.subscription.as_ref().unwrap();
                    let is_of_flow = subscription.first_flow == number;
                    is_of_flow && subscription.share.place(sequence).is_some()
                });
                let reached: Vec<u32> = reached.map(|it| it.0).collect();
                assert_eq!(reached, [topic], "flow {number}, message {sequence}");
            }
        }
    }
}
