// Lists that are dead and resolvers that lists refuse, as `check` tells of them.

import PosternMail
import Testing

@testable import PosternDaemon

@Suite("known lists and resolvers") struct KnownListsTests {
    @Test(
        "a dead list, whatever stands before its zone",
        arguments: [
            ("dnsbl.ahbl.org", "January 2015"), ("rhsbl.ahbl.org", "January 2015"), ("dnsbl.sorbs.net", "June 2024"),
            ("safe.dnsbl.sorbs.net", "June 2024"), ("ix.dnsbl.manitu.net", "January 2025"),
            ("bl.spamcannibal.org", "May 2018"), ("bl.emailbasura.org", "2019"), ("combined.njabl.org", "March 2013"),
            ("list.dsbl.org", "2008"), ("relays.ordb.org", "December 2006"),
            ("relays.osirusoft.com", "August 2003"), ("dsn.rfc-ignorant.org", "2012"), ("relays.orbs.org", "June 2001"),
            ("inputs.orbz.org", "March 2002"),
            ("zen.spamhaus.org", nil), ("bl.spamcop.net", nil), ("notsorbs.net", nil), ("net", nil),
            ("manitu.net", nil),
        ] as [(String, String?)])
    func dead(_ zone: String, _ since: String?) throws {
        #expect(KnownLists.deadSince(try DomainName(zone)) == since)
    }

    @Test(
        "resolvers for everyone",
        arguments: [
            ("8.8.8.8", "Google"), ("8.8.4.4", "Google"), ("2001:4860:4860::8888", "Google"), ("1.1.1.1", "Cloudflare"),
            ("1.0.0.1", "Cloudflare"), ("2606:4700:4700::1111", "Cloudflare"), ("9.9.9.9", "Quad9"),
            ("2620:fe::fe", "Quad9"), ("208.67.222.222", "OpenDNS"), ("208.67.220.220", "OpenDNS"),
            ("2620:119:35::35", "OpenDNS"), ("4.2.2.1", "Level 3"),
            ("127.0.0.1", nil), ("192.0.2.53", nil), ("8.8.8.9", nil), ("::1", nil),
        ] as [(String, String?)])
    func resolvers(_ address: String, _ owner: String?) throws {
        #expect(KnownLists.owner(ofPublicResolver: try #require(IPAddress(address))) == owner)
        #expect(KnownLists.resolverCount >= 55)  // each text of the table is an address
    }

    @Test("a zone of its own upstream is judged by that; an IPv6 upstream is judged too")
    func upstreams() {
        let list = "[[dnsbl.list]]\nzone = \"zen.spamhaus.org\"\nscores = { \"127.0.0.2\" = 4 }\n"
        func advice(_ text: String) -> [String] {
            Configuration.read(Array((text + list).utf8), file: "p", folder: "/", for: .check).advice.map(\.text)
        }
        #expect(advice("[dns]\nupstream = [\"[2606:4700:4700::1111]:53\"]\n").first?.contains("(Cloudflare)") == true)
        #expect(
            advice(
                "[dns]\nupstream = [\"1.1.1.1\"]\n[[dns.zone]]\nname = \"spamhaus.org\"\nupstream = [\"127.0.0.1\"]\n")
                == [])
        #expect(
            advice(
                "[dns]\nupstream = [\"127.0.0.1\"]\n[[dns.zone]]\nname = \"spamhaus.org\"\nupstream = [\"9.9.9.9\"]\n"
            )
            .count == 1)
        #expect(advice("") == [])
    }
}
