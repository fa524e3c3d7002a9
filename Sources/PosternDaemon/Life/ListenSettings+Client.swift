// Where the daemons and the CLI reach postern-dns.

public import PosternMail

extension ListenSettings {
    /// The first stream endpoint of `listen.dns`, UNIX before TCP; the default where there is none, since UDP serves
    /// `dig` and not our pipelined client.
    public var dnsClientEndpoint: Endpoint {
        dns.first { if case .unix = $0 { true } else { false } }
            ?? dns.first { if case .tcp = $0 { true } else { false } }
            ?? .unix(path: "/run/postern/dns.sock")
    }
}
