//! Many virtual servers at once: they know nothing of each other, so each processor reads its part.
//!
//! Here: dividing them, and putting the parts together in the order of the file. Not here: reading one.

use std::num::NonZeroUsize;
use std::thread;

use super::root::{self, Root};
use super::{Context, virtual_server};
use crate::blocks::Blocks;

/// Fewer are not worth a thread.
const LEAST: usize = 64;
/// Most threads; the rest of the work does not get faster by more.
const MOST: usize = 8;
/// Stack of a thread, for the depth of blocks that the scanner allows.
const STACK: usize = 8 << 20;

/// Lowers the virtual servers at `indices`, which follow each other in the file.
pub(super) fn lower(blocks: &Blocks<'_>, indices: &[usize], root: &mut Root, context: &mut Context<'_>) {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MOST);
    if processors == 1 || indices.len() < LEAST {
        for index in indices {
            one(blocks, *index, root, context);
        }
        return admit(root, context);
    }
    let read = |indices: &[usize], mut context: Context<'_>| {
        let mut part = Root::default();
        for index in indices {
            one(blocks, *index, &mut part, &mut context);
        }
        (part, context.gathered())
    };
    let mut parts = indices.chunks(indices.len().div_ceil(processors));
    let own = parts.next().unwrap_or_default();
    let done = thread::scope(|scope| {
        let others: Vec<_> = parts
            .map(|part| {
                let fork = context.fork();
                let started =
                    thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || read(part, fork));
                (part, started)
            })
            .collect();
        let mut done = vec![read(own, context.fork())];
        for (part, started) in others {
            // Without a thread, or if it came to harm, the work is done here.
            let read_there = started.ok().and_then(|thread| thread.join().ok());
            done.push(read_there.unwrap_or_else(|| read(part, context.fork())));
        }
        done
    });
    for (part, gathered) in done {
        context.join(gathered);
        root.servers.extend(part.servers);
        admit(root, context);
    }
}

/// Makes what was read part of the configuration.
fn admit(root: &mut Root, context: &mut Context<'_>) {
    for found in std::mem::take(&mut root.servers) {
        virtual_server::admit(root, context, found);
    }
}

fn one(blocks: &Blocks<'_>, index: usize, root: &mut Root, context: &mut Context<'_>) {
    if let Some(statement) = blocks.parsed(index, context) {
        root::TABLE.one(root, &statement, context);
    }
}
