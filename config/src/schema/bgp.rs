//! `bgp:` the speaker, its peers and filters.

use std::borrow::Cow;

use brindle_bgp::bfd::Settings;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::filter::FilterSection;
use super::{
    Address, AsNumber, BmpSection, Cidr, Document, DrainSection, PasswordSection,
    PrefixAdvertisementSection, ServicesSection, TcpAoSection, Time,
};
use crate::check::DEFAULT_LIMIT;

/// The BGP speaker.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct BgpSection {
    /// Whether this agent speaks BGP and routes. If not, it leaves routes and forwarding to
    /// others and only enforces policies.
    pub(crate) enabled: bool,
    /// Our autonomous system.
    pub(crate) as_number: AsNumber,
    /// Our BGP identifier. Default: the node's IPv4 address.
    #[serde(rename = "routerID", skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "ipv4"))]
    pub(crate) router_id: Option<String>,
    /// Where peers are listened for.
    pub(crate) listen: ListenSection,
    /// Sessions between the nodes of the source.
    pub(crate) node_to_node_mesh: MeshSection,
    /// Longest silence before a peer counts as lost: 0s (off) or 3s to 65535s.
    pub(crate) hold_time: Time,
    /// First wait between attempts to connect to a peer; later ones are longer.
    pub(crate) connect_retry_time: Time,
    /// Routes that outlive sessions (RFC 4724).
    pub(crate) graceful_restart: GracefulRestartSection,
    /// Most paths used together to one prefix; 1 switches multipath off.
    #[schemars(range(min = 1, max = 256))]
    pub(crate) max_paths: usize,
    /// Which paths are used together.
    pub(crate) multipath: MultipathSection,
    /// Peers besides the mesh.
    pub(crate) peers: Vec<PeerSection>,
    /// Whoever connects from some prefixes becomes a peer, and is never dialled.
    pub(crate) dynamic_peers: Vec<DynamicPeerSection>,
    /// Filters that peers name.
    pub(crate) filters: Vec<FilterSection>,
    /// Further prefixes to originate.
    pub(crate) networks: Vec<Cidr>,
    /// Which addresses of Services are announced.
    pub(crate) services: ServicesSection,
    /// Communities that go with prefixes that we originate: those of all entries that a prefix
    /// lies in.
    pub(crate) prefix_advertisements: Vec<PrefixAdvertisementSection>,
    /// When the node is drained without being told to.
    pub(crate) drain: DrainSection,
    /// Stations that are told of sessions and routes over BMP.
    pub(crate) bmp: Vec<BmpSection>,
}

impl Default for BgpSection {
    fn default() -> Self {
        Document::default().bgp
    }
}

/// Routes that outlive sessions (RFC 4724).
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct GracefulRestartSection {
    /// Whether it is offered to peers that do not say otherwise.
    pub(crate) enabled: bool,
    /// How long peers are asked to wait for us: 1s to 4095s.
    pub(crate) restart_time: Time,
    /// Longest time that routes of peers are kept, as the last choice, if these ask for it
    /// (RFC 9494): 1s to 4660h. Default: none are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) long_lived_stale_time: Option<Time>,
}

impl Default for GracefulRestartSection {
    fn default() -> Self {
        Document::default().bgp.graceful_restart
    }
}

/// Where peers are listened for.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct ListenSection {
    /// Addresses of ours. Default: the node's.
    pub(crate) addresses: Vec<Address>,
    /// TCP port; mesh peers are dialled on it as well.
    #[schemars(range(min = 1))]
    pub(crate) port: u16,
}

impl Default for ListenSection {
    fn default() -> Self {
        Document::default().bgp.listen
    }
}

/// Sessions between the nodes of the source.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct MeshSection {
    /// Whether there is a session to every other node that the source knows; where some of
    /// them reflect routes, only to those.
    pub(crate) enabled: bool,
    /// What keeps the routes of a node whose session is down.
    pub(crate) retain: Retain,
    /// How many prefixes each node may tell. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_prefixes: Option<MaxPrefixesSection>,
    /// Whether nodes that reflect routes tell the others every path of a prefix, so that these
    /// use the ways through several nodes together (ADD-PATH, RFC 7911).
    pub(crate) add_paths: bool,
    /// BFD with every node that there is a session with; all nodes must have it. Left out,
    /// there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bfd: Option<BfdSection>,
    /// A key that all nodes know and sign their sessions with (TCP MD5, RFC 2385).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<PasswordSection>,
    /// Keys that all nodes know and sign their sessions with (RFC 5925); instead of password.
    #[serde(rename = "tcpAO", skip_serializing_if = "Option::is_none")]
    pub(crate) tcp_ao: Option<TcpAoSection>,
}

/// What keeps the routes of a node whose session is down.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Retain {
    /// Its Node object, while that claims them and the node is on-link.
    NodeObject,
    /// Nothing: they go with the session, unless that ends for a graceful restart.
    BgpOnly,
}

impl Default for MeshSection {
    fn default() -> Self {
        Document::default().bgp.node_to_node_mesh
    }
}

/// A BGP peer.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PeerSection {
    /// What commands, logs and metrics call it; unique.
    #[schemars(length(min = 1, max = 63))]
    pub(crate) name: String,
    /// Its address; unique. A link-local one has its interface behind it: fe80::1%eth1.
    #[serde(rename = "peerIP", skip_serializing_if = "Option::is_none")]
    pub(crate) peer_ip: Option<PeerAddress>,
    /// The interface that it is on, in place of peerIP: its link-local address is the one that
    /// its router advertisements come from, and it finds us by ours.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub(crate) interface: Option<String>,
    /// The gateway by which the peer is reached, if it is not on a link of ours: a route to its
    /// address by this gateway is written. Default: the routes that there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reachable_by: Option<Address>,
    /// The TCP port to dial.
    #[serde(default = "bgp_port")]
    #[schemars(range(min = 1))]
    pub(crate) port: u16,
    /// Its autonomous system: a number, external for any but ours, or internal for ours.
    pub(crate) as_number: PeerAsNumber,
    /// Our autonomous system on its sessions, where the peer takes us for another than we are.
    /// Default: that of the node.
    #[serde(rename = "localASNumber", skip_serializing_if = "Option::is_none")]
    pub(crate) local_as_number: Option<AsNumber>,
    /// How often our autonomous system may stand in an AS path that it tells. More is a loop.
    #[serde(rename = "numAllowedLocalASNumbers", default)]
    pub(crate) num_allowed_local_as_numbers: u8,
    /// Our address on this session. Default: the kernel chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source_address: Option<Address>,
    /// Wait for the peer to connect and never dial it.
    #[serde(default)]
    pub(crate) passive: bool,
    /// A key that signs the session (TCP MD5, RFC 2385); the peer must have the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password: Option<PasswordSection>,
    /// Keys that sign the session (RFC 5925), instead of password.
    #[serde(rename = "tcpAO", skip_serializing_if = "Option::is_none")]
    pub(crate) tcp_ao: Option<TcpAoSection>,
    /// The peer is at most so many hops away, 1 on the same link: packets that have come from
    /// farther off are dropped (GTSM, RFC 5082). The peer must do the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 254))]
    pub(crate) ttl_security: Option<u8>,
    /// An external peer is at most so many hops away. Default: 1, on the same link.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub(crate) ebgp_multihop: Option<u8>,
    /// Reflect routes to and from it (RFC 4456); for peers in our own AS.
    #[serde(default)]
    pub(crate) reflector_client: bool,
    /// As bgp.holdTime, which is the default.
    #[serde(default = "hold_time")]
    pub(crate) hold_time: Time,
    /// Whether graceful restart is offered to it. Default: as bgp.gracefulRestart.enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) graceful_restart: Option<bool>,
    /// How long it is asked to wait for us. Default: bgp.gracefulRestart.restartTime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_restart_time: Option<Time>,
    /// Names of filters, all of which must accept what the peer tells us. Left out, an
    /// external peer gives us nothing (RFC 8212); empty accepts everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) import_filters: Option<Vec<String>>,
    /// Names of filters, all of which must accept what we tell the peer. Left out, an
    /// external peer is told nothing (RFC 8212); empty accepts everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) export_filters: Option<Vec<String>>,
    /// Which next hop the peer is told.
    #[serde(default = "next_hop_mode")]
    pub(crate) next_hop_mode: NextHop,
    /// What we are to a peer in another AS (RFC 9234): it must be the opposite. Routes that one
    /// of us must not pass on by that are refused. Left out, there are no roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<Role>,
    /// Refuse the peer if it says no role.
    #[serde(default)]
    pub(crate) role_strict: bool,
    /// Several paths of one prefix (ADD-PATH, RFC 7911), which the peer must offer as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) add_paths: Option<AddPathsSection>,
    /// How many prefixes it may tell. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_prefixes: Option<MaxPrefixesSection>,
    /// BFD with the peer, which must have it as well. Left out, there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bfd: Option<BfdSection>,
}

/// The address of a peer.
#[derive(Serialize, JsonSchema)]
#[schemars(extend(
    "anyOf" = [{"format": "ipv4"}, {"format": "ipv6"}, {"pattern": "^fe[89abAB][0-9a-fA-F:]*%[^/:% ]{1,15}$"}]
))]
pub(crate) struct PeerAddress(pub(crate) String);

/// The AS of a peer.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum PeerAsNumber {
    /// This one.
    One(AsNumber),
    /// As a word.
    Word(#[schemars(extend("enum" = ["external", "internal"]))] &'static str),
}

/// Several paths of one prefix.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AddPathsSection {
    /// Take several from the peer.
    #[serde(default)]
    pub(crate) receive: bool,
    /// How many the peer is told: off for the best alone, all, or the best so many.
    #[serde(default = "send_off")]
    pub(crate) send: SendWord,
}

/// How many paths of a prefix a peer is told.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum SendWord {
    /// The best so many.
    Best(#[schemars(range(min = 2))] u8),
    /// `off` or `all`.
    Word(#[schemars(regex(pattern = "^(off|all)$"))] String),
}

/// Which paths are used together.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct MultipathSection {
    /// Whether external paths may come from different neighbouring ASes, if their AS paths are
    /// equally long.
    pub(crate) as_path_relax: bool,
}

impl Default for MultipathSection {
    fn default() -> Self {
        Document::default().bgp.multipath
    }
}

/// How many prefixes of each family a peer may tell, refused ones included.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct MaxPrefixesSection {
    /// IPv4 prefixes. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub(crate) ipv4: Option<u32>,
    /// IPv6 prefixes. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub(crate) ipv6: Option<u32>,
    /// From how many percent of it on there is a warning.
    #[serde(default = "warn_at")]
    #[schemars(range(min = 1, max = 100))]
    pub(crate) warn_at: u8,
    /// What happens beyond it.
    #[serde(default = "limit_action")]
    pub(crate) action: LimitWord,
    /// How long the peer is left alone then: 1s to 24h.
    #[serde(default = "retry_after")]
    pub(crate) retry_after: Time,
}

/// What happens when a peer tells too many prefixes.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum LimitWord {
    /// The session ends, its routes go, and the next may begin after retryAfter.
    Restart,
    /// It is said, and all is taken.
    Warn,
}

/// Peers that become such by connecting: as a peer, but with these keys in place of peerIP,
/// port, sourceAddress and passive.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct DynamicPeerSection(Map<String, Value>);

/// The keys of a peer that a dynamic one does not have.
const NOT_DYNAMIC: [&str; 7] =
    ["peerIP", "interface", "reachableBy", "asNumber", "port", "sourceAddress", "passive"];

impl DynamicPeerSection {
    /// The group whose peers are like `peer`.
    pub(crate) fn new(peer: &PeerSection, cidrs: Vec<String>, asn: Value, limit: usize) -> Self {
        let peer = serde_json::to_value(peer).expect("the section has only text keys");
        let Value::Object(mut keys) = peer else { return Self(Map::new()) };
        keys.retain(|key, _| !NOT_DYNAMIC.contains(&key.as_str()));
        keys.insert("cidrs".to_owned(), cidrs.into());
        keys.insert("asNumber".to_owned(), asn);
        keys.insert("limit".to_owned(), limit.into());
        Self(keys)
    }
}

impl JsonSchema for DynamicPeerSection {
    fn schema_name() -> Cow<'static, str> {
        "DynamicPeerSection".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = PeerSection::json_schema(generator);
        let cidr = generator.subschema_for::<Cidr>();
        schema.insert(
            "description".to_owned(),
            "Peers that become such by connecting; never dialled. They are named NAME-ADDRESS."
                .into(),
        );
        if let Some(Value::Object(keys)) = schema.get_mut("properties") {
            keys.retain(|key, _| !NOT_DYNAMIC.contains(&key.as_str()));
            keys.insert(
                "cidrs".to_owned(),
                json!({
                    "description": "Where they come from; of several groups the most specific prefix counts.",
                    "type": "array", "items": cidr,
                }),
            );
            keys.insert(
                "asNumber".to_owned(),
                json!({
                    "description": "Their autonomous system: one, a range such as 65001-65100, or external \
                                    for any but ours.",
                    "type": ["integer", "string"], "minimum": 1,
                    "pattern": "^(external|(AS|as)?[0-9]+(\\.[0-9]+)?(-(AS|as)?[0-9]+(\\.[0-9]+)?)?)$",
                }),
            );
            keys.insert(
                "limit".to_owned(),
                json!({
                    "description": "The most of them at a time.",
                    "type": "integer", "minimum": 1, "maximum": 10000, "default": DEFAULT_LIMIT,
                }),
            );
        }
        schema.insert("required".to_owned(), json!(["name", "cidrs", "asNumber"]));
        schema
    }
}

/// What we are to a peer.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Role {
    /// It buys transit from us.
    Provider,
    /// We buy transit from it.
    Customer,
    /// Both tell each other of their own customers only.
    Peer,
    /// We are a route server, it uses us.
    RsServer,
    /// It is a route server, we use it.
    RsClient,
}

/// Bidirectional Forwarding Detection: ends the session as soon as the path fails.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct BfdSection {
    /// Whether there is BFD; it is where the section stands.
    pub(crate) enabled: bool,
    /// How often we would send: 10ms to 60s.
    pub(crate) transmit_interval: Time,
    /// How often we can receive: 10ms to 60s.
    pub(crate) receive_interval: Time,
    /// How many of our packets may be missing before the peer takes us for lost.
    #[schemars(range(min = 1))]
    pub(crate) multiplier: u8,
    /// Whether there are routers between the peer and us (RFC 5883).
    pub(crate) multihop: bool,
    /// With multihop: the least TTL that the peer's packets arrive with; each router takes one
    /// of 255.
    #[serde(rename = "minimumTTL", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub(crate) minimum_ttl: Option<u8>,
    /// Whether a failure may be a graceful restart of the peer, over which its routes are kept:
    /// it may where the peer's BFD ends with its control plane. If false, any failure is one of
    /// the path, and the routes go at once.
    pub(crate) graceful_restart: bool,
}

impl Default for BfdSection {
    fn default() -> Self {
        crate::render::bfd(&Settings::DEFAULT)
    }
}

/// Which next hop a peer is told.
#[derive(Serialize, JsonSchema)]
pub(crate) enum NextHop {
    /// Unchanged to internal peers; ourselves, or a third party on the shared link, to
    /// external ones (RFC 4271 §5.1.3).
    Auto,
    /// Always ourselves.
    #[serde(rename = "Self")]
    SelfAddress,
    /// Always unchanged.
    Keep,
}

fn send_off() -> SendWord {
    SendWord::Word("off".to_owned())
}

fn bgp_port() -> u16 {
    crate::check::BGP_PORT
}

fn warn_at() -> u8 {
    75
}

fn limit_action() -> LimitWord {
    LimitWord::Restart
}

fn retry_after() -> Time {
    Time("5m".to_owned())
}

fn hold_time() -> Time {
    Document::default().bgp.hold_time
}

fn next_hop_mode() -> NextHop {
    NextHop::Auto
}
