import PosternDNS
import PosternDaemon
import PosternMail
import Testing

@testable import PosternForwarder
@testable import postern_dns

@Suite("what postern-dns makes of its configuration")
struct ForwarderSettingsTests {
    private func settings(_ text: String) throws -> ForwarderSettings {
        let loaded = Configuration.read(Array(text.utf8), file: "test", folder: "/", for: .dns)
        return ForwarderSettings(try #require(loaded.flawless, "\(loaded.problems)"))
    }

    @Test("every key of [dns] and [[dns.zone]] reaches the forwarder")
    func everyKey() throws {
        let settings = try settings(
            """
            [listen]
            dns = ["unix:/run/postern/dns.sock", "udp:127.0.0.1:5300"]
            mode = "0640"
            [dns]
            upstream = ["192.0.2.53", "192.0.2.54:5353"]
            timeout = "700ms"
            cache = "8MiB"
            ttl_min = "5s"
            ttl_max = "2h"
            negative_ttl_max = "30s"
            stale = "12h"
            stale_keys = "1h"
            mixed_case = true
            [[dns.zone]]
            name = "list.example"
            upstream = ["127.0.0.1:5354"]
            timeout = "300ms"
            ttl_min = "1m"
            ttl_max = "10m"
            stale = "0s"
            questions_per_second = 50
            [[dnsbl.list]]
            zone = "zen.example"
            scores = { "127.0.0.2" = 4 }
            """)
        #expect(settings.upstreams.map(\.description) == ["192.0.2.53", "192.0.2.54:5353"])
        #expect(settings.tryTimeout == .milliseconds(700))
        #expect(settings.cache.octets == 8 << 20)
        #expect(settings.cache.bounds.ttlMin == .seconds(5) && settings.cache.bounds.ttlMax == .seconds(7200))
        #expect(settings.cache.bounds.negativeTTLMax == .seconds(30))
        #expect(settings.stale == .seconds(43_200) && settings.staleKeys == .seconds(3600))
        #expect(settings.mixesCase)
        #expect(settings.socketMode == 0o640)
        #expect(settings.listen.count == 2)
        #expect(settings.lists == [try DomainName("zen.example")])
        let zone = try #require(settings.zones.first)
        #expect(zone.name == (try DomainName("list.example")))
        #expect(zone.upstreams.map(\.description) == ["127.0.0.1:5354"])
        #expect(zone.tryTimeout == .milliseconds(300) && zone.stale == .zero && zone.questionsPerSecond == 50)
        #expect(zone.ttlMin == .seconds(60) && zone.ttlMax == .seconds(600))
        // It is found by whoever asks for a name below it.
        let question = Question(try DomainName("2.0.0.127.list.example"), .a)
        #expect(settings.rules(for: question).zone == zone)
    }

    @Test("an empty configuration asks the system's nameservers and keeps no answer beyond a day")
    func empty() throws {
        let settings = try settings("")
        #expect(settings.cache.bounds.ttlMax == .seconds(86_400))
        #expect(settings.tryTimeout == .milliseconds(1500))
        #expect(settings.zones.isEmpty && settings.lists.isEmpty)
    }
}
