//! A chat backend in small: two users are connected to it, and what one of them says (on standard input) both are shown, and so is everybody at any
//! other backend. Several may run, with certificates of different names.
//!
//! ```sh
//! cargo run -p guildhall-client --example backend -- 127.0.0.1:7700 CREDENTIALS
//! ```

use std::error::Error;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, io, path::Path};

use guildhall_client::proto::{
    Actor, Channel, ChannelId, ChannelKind, Command, CommandError, EventKind, GuildId, Level, MemberFlags, Mentions,
    Name, NewMember, Nick, Payload, Permissions, Publish, SessionId, Status, UserId,
};
use guildhall_client::{Attach, Client, ClientConfig, ClientError, Credentials, Delivery, Guild, SessionStream};
use tokio::sync::watch;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (Some(address), Some(dir)) = (env::args().nth(1), env::args().nth(2)) else {
        return Err("usage: backend ADDRESS CREDENTIALS".into());
    };
    let config = ClientConfig::new(vec![address.parse()?], Credentials::read(Path::new(&dir))?);
    chat(config, io::stdin().lines(), Arc::new(|told: String| println!("{told}"))).await
}

/// Has somebody shown a line.
pub(crate) type Show = Arc<dyn Fn(String) + Send + Sync>;

/// Takes part in the guild until the lines end.
pub(crate) async fn chat(
    config: ClientConfig,
    lines: impl Iterator<Item = io::Result<String>>,
    show: Show,
) -> Result<(), Box<dyn Error>> {
    let client = Client::connect(config).await?;
    let backend = client.backend().ok_or("the certificate is no backend's")?;
    let (id, channel, ada) = (GuildId::new(60)?, ChannelId::new(61)?, UserId::new(1)?);
    let guild = client.guild(id);
    // What is there already stays as it is: so each of several backends may begin in this way.
    let member = |user, nick| -> Result<NewMember, Box<dyn Error>> {
        Ok(NewMember { user, nick: Nick::parse(nick)?, roles: Vec::new(), flags: MemberFlags::NONE })
    };
    let (name, everyone) = (Name::parse("Ada's")?, Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES);
    ensure(&guild, Command::CreateGuild { name: name.clone(), everyone, owner: member(ada, "Ada")? }).await?;
    let hall = Channel { id: channel, name, kind: ChannelKind::Text, parent: None, position: 0 };
    ensure(&guild, Command::CreateChannel { channel: hall, overwrites: Vec::new() }).await?;
    ensure(&guild, Command::AddMember(member(UserId::new(2)?, "Bo")?)).await?;

    // A session is one connection of a user's. Its number is its own in the whole cluster.
    let first = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos() as u64;
    let (leaving, left) = watch::channel(false);
    let mut listeners = Vec::new();
    for (user, nick) in [(1, "Ada"), (2, "Bo")] {
        let (session, user) = (SessionId::new(first + user)?, UserId::new(user)?);
        let attach = Attach { session, user, status: Status::Online, members: false, level: Level::Active };
        let session = backend.attach(id, attach).await?;
        listeners.push(tokio::spawn(listen(session, nick, Arc::clone(&show), left.clone())));
    }
    for line in lines {
        let (payload, mentions) = (Payload::new(line?.into_bytes())?, Mentions::default());
        let publish = Publish { channel, payload, mentions, session: None, echo: false };
        guild.call(Actor::User(ada), Command::Publish(publish)).await?;
    }
    leaving.send_replace(true);
    for listener in listeners {
        listener.await?;
    }
    client.close().await;
    Ok(())
}

/// Carries out what may be done already.
async fn ensure(guild: &Guild, command: Command) -> Result<(), ClientError> {
    match guild.call(Actor::System, command).await {
        Err(ClientError::Refused(
            CommandError::GuildExists | CommandError::ChannelExists { .. } | CommandError::MemberExists { .. },
        )) => Ok(()),
        done => done.map(|_| ()),
    }
}

/// Shows what a session hears, until it is to leave; then what it hears up to there.
async fn listen(mut session: SessionStream, nick: &str, show: Show, mut leaving: watch::Receiver<bool>) {
    loop {
        let delivery = tokio::select! {
            delivery = session.next() => delivery,
            Ok(()) = leaving.changed() => match session.detach().await {
                Ok(_) => continue,
                Err(error) => return show(format!("{nick} goes without a goodbye: {error}")),
            },
        };
        match delivery {
            Some(Delivery::Event(event)) => {
                if let EventKind::MessagePublished(message) = &event.kind {
                    show(format!("{nick} hears: {}", String::from_utf8_lossy(message.payload.bytes())));
                }
            }
            Some(Delivery::Gap(gap)) => show(format!("{nick} has missed what was said up to {}", gap.through)),
            Some(Delivery::Ephemeral(_) | Delivery::Unread(_)) => {}
            Some(Delivery::Detached(_)) | None => return,
        }
    }
}
