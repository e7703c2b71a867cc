//! A chat backend in small: two users are connected to it, and what one of them says (on standard input) both are shown, and so is everybody at any
//! other backend. Several may run, with certificates of different names.
//!
//! ```sh
//! cargo run -p guildhall-client --example backend -- 127.0.0.1:7700 CREDENTIALS
//! ```

use std::{env, io, path::Path};

use guildhall_client::proto::{
    Actor, Channel, ChannelId, Command, EventKind, GuildId, Name, NewMember, Nick, Payload, Permissions, Publish,
    UserId,
};
use guildhall_client::{Attach, Client, ClientConfig, Credentials, Delivery, SessionStream};
use tokio::{sync::watch, task::JoinSet};

pub(crate) type Done = Result<(), Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Done {
    let (Some(address), Some(dir)) = (env::args().nth(1), env::args().nth(2)) else {
        return Err("usage: backend ADDRESS CREDENTIALS".into());
    };
    let config = ClientConfig::new(vec![address.parse()?], Credentials::read(Path::new(&dir))?);
    chat(config, io::stdin().lines(), |told| println!("{told}")).await
}

/// Takes part in the guild until the lines end, and shows what its users hear.
pub(crate) async fn chat(
    config: ClientConfig,
    lines: impl Iterator<Item = io::Result<String>>,
    show: impl Fn(String) + Clone + Send + 'static,
) -> Done {
    let client = Client::connect(config).await?;
    let backend = client.backend().ok_or("the certificate is no backend's")?;
    let (id, hall) = (GuildId::new(60)?, ChannelId::new(61)?);
    let (guild, name, everyone) =
        (client.guild(id), Name::parse("Ada's")?, Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES);
    let ada = NewMember::new(UserId::new(1)?, Nick::parse("Ada")?);
    let bo = NewMember::new(UserId::new(2)?, Nick::parse("Bo")?);
    // What is there already stays as it is: so each of several backends may begin in this way.
    let create = Command::CreateGuild { name: name.clone(), everyone, owner: ada.clone() };
    let channel = Command::CreateChannel { channel: Channel::text(hall, name), overwrites: Vec::new() };
    for command in [create, channel, Command::AddMember(bo.clone())] {
        guild.ensure(Actor::System, command).await?;
    }

    // A session is one connection of a user's.
    let (leaving, left) = watch::channel(());
    let mut listeners = JoinSet::new();
    for member in [&ada, &bo] {
        let session = backend.attach(id, Attach::new(client.new_session(), member.user)).await?;
        listeners.spawn(listen(session, member.nick.clone(), show.clone(), left.clone()));
    }
    for line in lines {
        let said = Publish::new(hall, Payload::new(line?.into_bytes())?);
        guild.call(Actor::User(ada.user), Command::Publish(said)).await?;
    }
    leaving.send_replace(());
    while let Some(listened) = listeners.join_next().await {
        listened??;
    }
    client.close().await;
    Ok(())
}

/// Shows what a session hears, until it is to leave; then what it hears up to there.
async fn listen(
    mut session: SessionStream,
    nick: Nick,
    show: impl Fn(String),
    mut leaving: watch::Receiver<()>,
) -> Done {
    let nick = nick.as_str();
    loop {
        tokio::select! {
            Ok(()) = leaving.changed() => drop(session.detach().await?),
            delivery = session.next() => match delivery {
                Some(Delivery::Event(event)) => if let EventKind::MessagePublished(message) = &event.kind {
                    show(format!("{nick} hears: {}", String::from_utf8_lossy(message.payload.bytes())));
                },
                Some(Delivery::Gap(gap)) => show(format!("{nick} has missed what was said up to {}", gap.through)),
                Some(Delivery::Ephemeral(_) | Delivery::Unread(_)) => {}
                Some(Delivery::Detached(_)) | None => return Ok(()),
            },
        }
    }
}
