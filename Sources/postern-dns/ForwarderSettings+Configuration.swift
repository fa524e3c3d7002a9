// From the configuration's `[listen]`, `[dns]`, `[[dns.zone]]` and `[[dnsbl.list]]` to what a forwarder is told, and from
// systemd's sockets.

import Glibc
import PosternAdmission
import PosternDNS
import PosternDaemon
import PosternForwarder
import PosternMail

extension ForwarderSettings {
    init(_ configuration: Configuration) {
        let dns = configuration.dns
        let stated = dns.upstreams.compactMap(Upstream.init)
        let bounds = Cache.Bounds(
            ttlMin: dns.ttl.lowerBound, ttlMax: dns.ttl.upperBound, negativeTTLMax: dns.negativeTTLMax)
        self.init(
            upstreams: stated.isEmpty ? Self.systemUpstreams() : stated,
            cache: Cache.Settings(octets: dns.cacheOctets, bounds: bounds), tryTimeout: dns.timeout,
            staticZone: dns.staticZone, listen: configuration.listen.dns, socketMode: UInt32(configuration.listen.mode))
        stale = dns.stale
        staleKeys = dns.staleKeys
        mixesCase = dns.mixedCase
        lists = Set(configuration.dnsbl.lists.map(\.zone))
        zones = dns.zones.map(ForwarderZone.init)
    }

    /// What hides the query keys of the zones that are named.
    var queryKeys: QueryKeys { QueryKeys(zones: lists.union(zones.map(\.name))) }

    /// Sockets from systemd take the place of those of their kind: UNIX ones of `unix:` in `listen.dns`, TCP of `tcp:`.
    /// UDP is always our own.
    mutating func take(_ sockets: [ActivatedSocket], _ log: any LogSink) {
        for socket in sockets {
            if let endpoint = socket.endpoint, !listen.contains(endpoint) {
                log.warning(
                    "systemd passed \(endpoint), which listen.dns does not name; the daemons ask those of listen.dns")
            }
        }
        func isOf(_ kind: Endpoint?, _ endpoint: Endpoint) -> Bool {
            switch (kind, endpoint) {
            case (.unix, .unix), (.tcp, .tcp): true
            default: false
            }
        }
        listen.removeAll { endpoint in sockets.contains { isOf($0.endpoint, endpoint) } }
        activatedSockets = sockets.map(\.descriptor)
    }

    /// The nameservers of /etc/resolv.conf; none where it cannot be read. Source: resolv.conf(5).
    private static func systemUpstreams() -> [Upstream] {
        guard let file = fopen("/etc/resolv.conf", "r") else { return [] }
        defer { fclose(file) }
        var octets = [UInt8](repeating: 0, count: 65_536)
        let count = fread(&octets, 1, octets.count, file)
        return ResolvConf.nameservers(in: String(decoding: octets.prefix(count), as: UTF8.self)).map { Upstream($0) }
    }
}

extension ForwarderZone {
    /// One `[[dns.zone]]`.
    init(_ settings: DNSZoneSettings) {
        self.init(settings.name)
        upstreams = settings.upstreams.compactMap(Upstream.init)
        ttlMin = settings.ttlMin
        ttlMax = settings.ttlMax
        stale = settings.stale
        tryTimeout = settings.timeout
        questionsPerSecond = settings.questionsPerSecond
    }
}

extension Upstream {
    /// `dns.upstream` holds `.udp` endpoints with an IP address; anything else was refused by the configuration.
    init?(_ endpoint: Endpoint) {
        guard case .udp(let host, let port) = endpoint, let address = IPAddress(host) else { return nil }
        self.init(address, port: port)
    }
}
