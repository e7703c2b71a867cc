//! Links between nodes over QUIC, and who is at their other end. The only crate that knows QUIC and TLS.
//!
//! A guild node listens, and all others dial it. Both ends show a certificate of the cluster's authority, in which one URI says who they are
//! ([`Identity`]); then they agree on a version (`guildhall_proto::Hello`), and the [`Link`] stands: an ordered lane for each call, two that
//! push feeds and what is told of now. What crosses a lane are frames (`guildhall_proto::frame`). What a frame says, this crate does not know.
//!
//! To drive it: make [`Credentials`] of three files, an [`Endpoint`] of those and a [`TransportConfig`]. Whoever listens polls its [`Acceptor`]
//! for links and each [`Accepted`] link for calls, and compares a call with the dialer's role ([`Role::may_ask`]). Whoever dials
//! keeps a [`Redial`] for each guild node, and asks it for the next link when [`Link::closed`] says that the last has ended.
//!
//! ```
//! use std::time::{Duration, SystemTime, UNIX_EPOCH};
//!
//! use guildhall_proto::call::Call;
//! use guildhall_proto::frame::Kind;
//! use guildhall_proto::{Hello, Instance, Millis, NodeId, Versions};
//! use guildhall_transport::pki::{Authority, Issued, Validity};
//! use guildhall_transport::{Credentials, Endpoint, TransportConfig};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let now = Millis(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis() as u64);
//! let validity = Validity { from: now, lifetime: Duration::from_secs(3600) };
//! let (authority, _) = Authority::create("main".parse()?, validity)?;
//! let credentials = |uri: &str| -> Result<Credentials, Box<dyn std::error::Error>> {
//!     let Issued { certificate, key } = authority.issue(uri.parse()?, validity)?;
//!     Ok(Credentials::from_pem(certificate.as_bytes(), key.as_bytes(), authority.certificate().as_bytes())?)
//! };
//! let hello = |node| Hello { versions: Versions::SUPPORTED, node: NodeId::new(node).unwrap(), instance: Instance(7) };
//! let (any, config) = ("127.0.0.1:0".parse()?, TransportConfig::default());
//!
//! let guilds = credentials("spiffe://main/guild-node/a")?;
//! let (node, mut acceptor) = Endpoint::listening(any, &guilds, hello(1), config)?;
//! let address = node.address()?;
//! let serving = tokio::spawn(async move {
//!     let link = acceptor.accept().await.expect("somebody dials");
//!     let (mut answer, mut request) = link.next_call().await?;
//!     let asked = request.next().await?.expect("a call begins with its request");
//!     assert!(link.peer().identity.role.may_ask(Call::Ping));
//!     answer.append(Kind::Answer, &asked.body)?;
//!     answer.finish().await?;
//!     link.closed().await;
//!     Ok::<_, guildhall_transport::LaneError>(())
//! });
//!
//! let backend = Endpoint::dialing(any, &credentials("spiffe://main/backend/chat-1")?, hello(2), config)?;
//! let link = backend.dial(address).await?;
//! assert_eq!(link.peer().identity.to_string(), "spiffe://main/guild-node/a");
//! let (mut request, mut answer) = link.call().await?;
//! request.append(Kind::Request, b"ping")?;
//! request.finish().await?;
//! assert_eq!(answer.next().await?.expect("an answer").body, b"ping"[..]);
//! drop((link, answer));
//! serving.await??;
//! # Ok(())
//! # }
//! ```
//!
//! What may go wrong is counted by reason ([`Counters`]), and what an endpoint may take is bounded by its [`TransportConfig`]. It keeps no queue
//! of frames: what nobody reads stays with whoever sends it, by the windows of lane and link.

#![warn(missing_docs)]

mod access;
mod backoff;
mod close;
mod config;
mod counters;
mod credentials;
mod endpoint;
mod identity;
mod in_time;
mod lane;
mod link;
pub mod pki;
mod redial;
mod register;

pub use backoff::{Backoff, BackoffConfig};
pub use close::{CloseReason, Closed};
pub use config::{ConfigError, TransportConfig};
pub use counters::{Counter, Counters};
pub use credentials::{AUTHORITY_FILE, CERTIFICATE_FILE, Credentials, CredentialsError, KEY_FILE};
pub use endpoint::{Acceptor, BindError, DialError, Endpoint};
pub use identity::{Identity, IdentityError, Label, Role};
pub use in_time::in_time;
pub use lane::{LaneError, LaneReceiver, LaneSender, Priority};
pub use link::{Accepted, Dialed, Link, Peer};
pub use redial::Redial;
pub use register::Standing;
