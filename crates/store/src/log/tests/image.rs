//! The files of a log, to be damaged in a thousand ways.

use std::collections::BTreeMap;

use super::hand::{Act, Hand, options};
use super::model::Model;
use crate::log::disk::{Disk, LogFile, SimulatedDisk};
use crate::log::engine::Engine;
use crate::log::frame::{FrameHeader, FrameKey};
use crate::log::scan::{Found, Scan};
use crate::log::segment::{HEADER_BYTES, Heading, SegmentHeader};
use crate::{Cleaning, OpenError, Options, Report};

/// The files of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

/// A frame, and where it lies.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) offset: usize,
    pub(super) header: FrameHeader,
}

/// A log with what it was after each frame.
pub(super) struct History {
    pub(super) image: Image,
    pub(super) frames: Vec<Place>,
    states: BTreeMap<u64, Model>,
}

impl Image {
    pub(super) fn of(disk: &SimulatedDisk) -> Self {
        let read = |name: String| {
            let file = disk.open(&name).unwrap();
            let mut bytes = vec![0; file.length().unwrap() as usize];
            file.read_at(&mut bytes, 0).unwrap();
            (name, bytes)
        };
        Self { files: disk.list().unwrap().into_iter().map(read).collect() }
    }

    /// Returns a disk with these files.
    pub(super) fn disk(&self) -> SimulatedDisk {
        let disk = SimulatedDisk::new(64 << 20);
        for (name, bytes) in &self.files {
            disk.create(name).unwrap().write_at(bytes, 0).unwrap();
        }
        disk
    }

    /// Returns the image with one file changed.
    pub(super) fn with(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut image = self.clone();
        change(image.files.get_mut(name).unwrap());
        image
    }

    /// Opens the log, goes on with it, and opens it again. Returns what it was.
    pub(super) fn open(&self) -> Result<(Model, Report), OpenError> {
        let disk = self.disk();
        let (mut engine, recovered) = Engine::open(disk.clone(), small())?;
        let model = Model::of(&recovered, &mut engine);
        engine.close().unwrap();
        disk.kill();
        let (mut engine, again) = Engine::open(disk, small()).unwrap();
        assert_eq!(again.report.cut, None, "it was repaired");
        assert!(Model::of(&again, &mut engine) == model, "what it was is what it stays");
        Ok((model, recovered.report))
    }

    /// Returns all frames, in order.
    pub(super) fn frames(&self) -> Vec<Place> {
        let disk = self.disk();
        let mut frames = Vec::new();
        for (name, bytes) in &self.files {
            let Heading::Segment(header) = SegmentHeader::decode(bytes) else { continue };
            if !header.is_in_use() {
                continue;
            }
            let file = disk.open(name).unwrap();
            let key = FrameKey::new(header.log_id);
            let mut scan = Scan::new(&file, key, HEADER_BYTES as u64).unwrap();
            loop {
                let offset = scan.offset as usize;
                let Found::Frame(frame) = scan.next().unwrap() else { break };
                frames.push(Place { file: name.clone(), offset, header: frame.header });
            }
        }
        frames
    }

    /// Returns the segments in use, with what their headers say.
    pub(super) fn segments(&self) -> BTreeMap<String, SegmentHeader> {
        let header = |(name, bytes): (&String, &Vec<u8>)| match SegmentHeader::decode(bytes) {
            Heading::Segment(header) if header.is_in_use() => Some((name.clone(), header)),
            _ => None,
        };
        self.files.iter().filter_map(header).collect()
    }
}

impl Place {
    /// Returns where the frame ends, without what fills it up to a multiple of eight.
    pub(super) fn payload_end(&self) -> usize {
        self.offset + 32 + self.header.payload_bytes as usize
    }

    /// Returns where the next frame begins.
    pub(super) fn end(&self) -> usize {
        self.offset + self.header.frame_bytes() as usize
    }
}

impl History {
    /// Makes a log of a hundred frames in several segments, of which the last two are not synced.
    pub(super) fn new() -> Self {
        let mut hand = Hand::new(small());
        let mut states = BTreeMap::from([(1, Model::default())]);
        for round in 0..100_u16 {
            hand.append(&acts(round));
            states.insert(hand.engine.tail.last_frame(), hand.model.clone().reopened());
            if round % 4 == 3 && round < 98 {
                hand.sync();
            }
        }
        hand.disk.kill();
        let image = Image::of(&hand.disk);
        let frames = image.frames();
        Self { image, frames, states }
    }

    /// Returns what the log was after `frame`.
    pub(super) fn state(&self, frame: u64) -> &Model {
        self.states.range(..=frame).next_back().unwrap().1
    }

    pub(super) fn has_been(&self, model: &Model) -> bool {
        self.states.values().any(|it| it == model)
    }

    /// Returns the highest frame that something behind `place` knows to be on the disk.
    pub(super) fn known_behind(&self, place: &Place) -> u64 {
        let number = place.header.number;
        let frames = self.frames.iter().filter(|it| it.header.number > number);
        let segments = self.image.segments();
        let segments = segments.values().filter(|it| it.first_frame > number);
        let known = frames.map(|it| it.header.synced).chain(segments.map(|it| it.synced));
        known.max().unwrap_or(0)
    }

    /// Returns what the log's frames are written with.
    pub(super) fn key(&self) -> FrameKey {
        let segments = self.image.segments();
        FrameKey::new(segments.values().next().unwrap().log_id)
    }

    pub(super) fn last_file(&self) -> &str {
        &self.frames.last().unwrap().file
    }
}

fn acts(round: u16) -> Vec<Act> {
    let who = (round % 3) as u8;
    let size = round * 7 % 300;
    let inbound = round.is_multiple_of(5).then_some((who, 1 + round % 7));
    let kind = (round % 6) as u8;
    let publish = Act::Publish { targets: 0b111, qos: 1, kind, size, topic: who, inbound };
    match round {
        0..3 => vec![Act::Start { who }, Act::Subscribe { who, filter: 0, has_cursor: true }],
        50 => vec![Act::End { who }, Act::Start { who }],
        _ if round % 9 == 4 => vec![Act::Finish { who, nth: 0, count: 5 }, publish],
        _ if round % 9 == 5 => vec![Act::Will { who, is_set: true }],
        _ => vec![publish],
    }
}

/// Returns options with small segments that stay where they are.
pub(super) fn small() -> Options {
    Options { cleaning: Cleaning { ratio: 1_000, slack_bytes: 1 << 30 }, ..options(false) }
}
