//! Imports that take several operations.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use guildhall_client::{ImportError, Imported};
use guildhall_proto::limits::BULK_MEMBERS_MAX;
use guildhall_proto::{Actor, LineFault, RoleId};

use crate::world::{GUILD, World, found, new_member, soon};

#[tokio::test]
async fn an_import_says_which_line_of_all_is_bad_and_goes_on_when_it_is_made_again() {
    let world = World::new().await;
    let client = world.client(1).await;
    found(&client, 1).await;
    let guild = client.guild(GUILD);
    let lines = BULK_MEMBERS_MAX as u64 + 500;
    let import = async |bad: Option<u64>| {
        let mut import = guild.import(Actor::System);
        for line in 0..lines {
            let mut member = new_member(100 + line);
            if bad == Some(line) {
                member.roles = vec![RoleId::new(9_999).unwrap()];
            }
            import.push(member).await?;
        }
        import.end().await
    };
    let last = lines - 2;
    match soon(import(Some(last))).await.unwrap_err() {
        ImportError::Line { line, fault } => {
            assert!(line == last && matches!(fault, LineFault::UnknownRole { .. }), "{line} {fault}");
        }
        error => panic!("{error}"),
    }
    let again = soon(import(None)).await.unwrap();
    assert_eq!(again, Imported { at: again.at, added: 2, existing: last, banned: 0 });
    let nothing = soon(guild.import(Actor::System).end()).await.unwrap();
    assert_eq!(nothing, Imported::default());
    client.close().await;
    world.stop().await;
}

#[tokio::test]
async fn a_push_that_is_cancelled_has_taken_its_line_and_is_done_once() {
    let world = World::new().await;
    let client = world.client(1).await;
    found(&client, 1).await;
    let guild = client.guild(GUILD);
    let lines = BULK_MEMBERS_MAX as u64 + 500;
    let mut import = guild.import(Actor::System);
    for line in 0..lines {
        let mut pushing = pin!(import.push(new_member(100 + line)));
        if line + 1 == BULK_MEMBERS_MAX as u64 {
            // Under way, and given up.
            let begun = poll_fn(|context| Poll::Ready(pushing.as_mut().poll(context))).await;
            assert!(begun.is_pending());
        } else {
            soon(pushing).await.unwrap();
        }
    }
    let imported = soon(import.end()).await.unwrap();
    assert_eq!(imported, Imported { at: imported.at, added: lines, existing: 0, banned: 0 });
    // All of what ended at a bad line says so, again and again.
    let mut import = guild.import(Actor::System);
    for line in 0..2 * BULK_MEMBERS_MAX as u64 {
        let mut member = new_member(100_000 + line);
        if line == 7 {
            member.roles = vec![RoleId::new(9_999).unwrap()];
        }
        let is_late = line + 1 >= BULK_MEMBERS_MAX as u64;
        let pushed = soon(import.push(member)).await;
        assert_eq!(matches!(pushed, Err(ImportError::Line { line: 7, .. })), is_late, "{line} {pushed:?}");
        if line > BULK_MEMBERS_MAX as u64 {
            break;
        }
    }
    assert!(matches!(soon(import.end()).await, Err(ImportError::Line { line: 7, .. })));
    client.close().await;
    world.stop().await;
}
