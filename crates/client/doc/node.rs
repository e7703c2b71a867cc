// What the examples on this crate's pages run against, hidden from who reads them: a guild node in the same process, over a store in memory.
// They include this file.

mod node {
    use std::error::Error;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use guildhall_client::proto::{
        Actor, Channel, ChannelId, ChannelKind, Command, GuildId, Hello, Instance, MemberFlags, Millis, Name, NewMember, Nick,
        NodeId, Permissions, UserId, Versions,
    };
    use guildhall_client::{Client, ClientConfig, Credentials};
    use guildhall_node::{Node, NodeConfig, ServeConfig};
    use guildhall_store::MemoryStore;
    use guildhall_transport::pki::{Authority, Issued, Validity};
    use guildhall_transport::{Endpoint, TransportConfig};

    pub type Done = Result<(), Box<dyn Error>>;

    /// Runs an example that knows where the node is, and has the certificate of a backend.
    pub fn served(example: impl AsyncFnOnce(SocketAddr, Credentials) -> Done) -> Done {
        serve(async |address, backend, _operator| example(address, backend).await)
    }

    /// Runs an example with a backend's client. Guild 1 is there, with channel 2, in which all write, and the members 1, its owner, to 9.
    pub fn with_backend(example: impl AsyncFnOnce(Client) -> Done) -> Done {
        serve(async |address, backend, _operator| {
            let client = Client::connect(ClientConfig::new(vec![address], backend)).await?;
            found(&client).await?;
            example(client.clone()).await?;
            client.close().await;
            Ok(())
        })
    }

    /// The same with an operator's client.
    pub fn with_operator(example: impl AsyncFnOnce(Client) -> Done) -> Done {
        serve(async |address, _backend, operator| {
            let client = Client::connect(ClientConfig::new(vec![address], operator)).await?;
            found(&client).await?;
            example(client.clone()).await?;
            client.close().await;
            Ok(())
        })
    }

    fn serve(example: impl AsyncFnOnce(SocketAddr, Credentials, Credentials) -> Done) -> Done {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let now = Millis(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64);
            let validity = Validity { from: now, lifetime: Duration::from_secs(3_600) };
            let (authority, _) = Authority::create("main".parse()?, validity)?;
            let credentials = |uri: &str| -> Result<Credentials, Box<dyn Error>> {
                let Issued { certificate, key } = authority.issue(uri.parse()?, validity)?;
                let authority = authority.certificate();
                Ok(Credentials::from_pem(certificate.as_bytes(), key.as_bytes(), authority.as_bytes())?)
            };
            let node = Node::start(NodeConfig::default(), Arc::new(MemoryStore::default()))?;
            let hello = Hello { versions: Versions::SUPPORTED, node: NodeId::new(1)?, instance: Instance(1) };
            let guild_node = credentials("spiffe://main/guild-node/a")?;
            let (endpoint, acceptor) =
                Endpoint::listening("127.0.0.1:0".parse()?, &guild_node, hello, TransportConfig::default())?;
            let serving = node.serve(acceptor, ServeConfig::new(hello.node, hello.instance));
            let backend = credentials("spiffe://main/backend/chat-1")?;
            let operator = credentials("spiffe://main/operator/ada")?;
            example(endpoint.address()?, backend, operator).await?;
            serving.stop().await;
            endpoint.close().await;
            node.stop().await;
            Ok(())
        })
    }

    async fn found(client: &Client) -> Done {
        let guild = client.guild(GuildId::new(1)?);
        let member = |user: u64, nick: &str| -> Result<NewMember, Box<dyn Error>> {
            Ok(NewMember { user: UserId::new(user)?, nick: Nick::parse(nick)?, roles: vec![], flags: MemberFlags::NONE })
        };
        let (name, everyone) = (Name::parse("Ada's")?, Permissions::VIEW_CHANNEL | Permissions::SEND_MESSAGES);
        let create = Command::CreateGuild { name: name.clone(), everyone, owner: member(1, "Ada")? };
        guild.call(Actor::System, create).await?;
        let (id, kind) = (ChannelId::new(2)?, ChannelKind::Text);
        let channel = Channel { id, name, kind, parent: None, position: 0 };
        guild.call(Actor::System, Command::CreateChannel { channel, overwrites: vec![] }).await?;
        let nicks = (2..).zip(["Bo", "Cy", "Di", "Eve", "Fay", "Gus", "Hal", "Ida"]);
        let members = nicks.map(|(user, nick)| member(user, nick)).collect::<Result<_, _>>()?;
        guild.call(Actor::System, Command::ImportMembers(members)).await?;
        Ok(())
    }
}
