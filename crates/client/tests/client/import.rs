//! Imports that take several operations.

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
