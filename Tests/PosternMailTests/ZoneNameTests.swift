// Query keys of DNS lists are the admin's secret: what is hidden, and what stays to be read.

import TestSupport
import Testing

@testable import PosternMail

@Suite("names of DNS lists") struct ZoneNameTests {
    static let key = "abcdefghijklmnopqrstuvwxyz"

    @Test(
        "a zone's key is hidden",
        arguments: [
            ("zen.spamhaus.org", "zen.spamhaus.org"),
            ("\(key).zen.dq.spamhaus.net", "(key).zen.dq.spamhaus.net"),
            ("a.\(key).list.example", "a.(key).list.example"),
            ("nineteen-octets-long.example", "(key).example"),
            ("nineteen-octets-lon.example", "nineteen-octets-lon.example"),
        ])
    func zones(_ name: String, _ shown: String) throws {
        #expect(ZoneName.redacted(try DomainName(name)) == shown)
        #expect(ZoneName.redacted(name) == shown)
    }

    @Test(
        "below a configured zone its key is hidden, and what is asked about is not",
        arguments: [
            ("2.0.0.127.\(key).list.example", "2.0.0.127.(key).list.example"),
            ("\(key).list.example", "(key).list.example"),
            (
                "a-long-domain-of-a-stranger.example.\(key).list.example",
                "a-long-domain-of-a-stranger.example.(key).list.example"
            ),
            // No zone is configured there, but all of theirs hold keys.
            ("2.0.0.127.\(key).zen.dq.spamhaus.net", "2.0.0.127.(key).zen.dq.spamhaus.net"),
            ("2.0.0.127.\(key).combined.mail.abusix.zone", "2.0.0.127.(key).combined.mail.abusix.zone"),
            // Elsewhere long labels are what they seem.
            (
                "abcdefghijklmnopqrstuvwxyz234567._domainkey.example.com",
                "abcdefghijklmnopqrstuvwxyz234567._domainkey.example.com"
            ),
            ("\(key).other.example", "\(key).other.example"),
            ("zen.spamhaus.org", "zen.spamhaus.org"),
        ])
    func questions(_ name: String, _ shown: String) throws {
        let keys = QueryKeys(zones: [try DomainName("zen.spamhaus.org"), try DomainName("\(Self.key).list.example")])
        #expect(keys.text(try DomainName(name)) == shown)
        let hidden = keys.hidden(in: try DomainName(name))
        #expect(hidden.labelCount == (try DomainName(name)).labelCount)
        #expect(!shown.contains("(key)") || !"\(hidden)".contains(Self.key))
    }

    @Test("the root and hostile names are survived")
    func hostile() throws {
        let keys = QueryKeys(zones: [try DomainName("\(Self.key).list.example"), .root])
        #expect(keys.hidden(in: .root) == .root)
        Mutations.of([(try DomainName("2.0.\(Self.key).list.example")).wire], count: 3000, seed: 3) { octets in
            guard let name = try? DomainName(wire: octets) else { return }  // most are none
            #expect(keys.hidden(in: name).labelCount == name.labelCount)
        }
    }
}
