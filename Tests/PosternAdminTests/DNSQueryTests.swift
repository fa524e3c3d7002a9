// `dns query`: each kind of answer as text and JSON, and its exit status.

import PosternDNS
import PosternDaemon
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("dns query") struct DNSQueryTests {
    private let zone = """
        $TTL 300
        example.com. SOA ns1.example.com. root.example.com. 1 2 3 4 60
        example.com. A 192.0.2.1
        example.com. A 192.0.2.2
        example.com. AAAA 2001:db8::1
        example.com. MX 10 mx1.example.com.
        example.com. NS ns1.example.com.
        www.example.com. CNAME example.com.
        two.example.com. CNAME one.example.com.
        one.example.com. CNAME gone.example.com.
        txt.example.com. TXT "a \\"quoted\\" \\200" " and \\\\ more"
        1.2.0.192.in-addr.arpa. PTR mx1.example.com.
        odd.example.com. TYPE65280 \\# 3 0A0B0C

        """

    @Test(
        "answers",
        arguments: [
            (
                ["example.com"], "example.com. 300 IN A 192.0.2.1\nexample.com. 300 IN A 192.0.2.2\n",
                #""name":"example.com","type":"a","result":"records","ttl":300,"#
                    + #""cnames":[],"records":[{"address":"192.0.2.1"},{"address":"192.0.2.2"}]"#
            ),
            (
                ["Example.COM.", "aaaa"], "example.com. 300 IN AAAA 2001:db8::1\n",
                #""name":"example.com","type":"aaaa","result":"records","ttl":300,"#
                    + #""cnames":[],"records":[{"address":"2001:db8::1"}]"#
            ),
            (
                ["example.com", "MX"], "example.com. 300 IN MX 10 mx1.example.com.\n",
                #""name":"example.com","type":"mx","result":"records","ttl":300,"#
                    + #""cnames":[],"records":[{"preference":10,"exchange":"mx1.example.com"}]"#
            ),
            (
                ["www.example.com", "NS"],
                "www.example.com. 300 IN CNAME example.com.\nexample.com. 300 IN NS ns1.example.com.\n",
                #""name":"www.example.com","type":"ns","result":"records","ttl":300,"#
                    + #""cnames":[{"name":"www.example.com","target":"example.com","ttl":300}],"#
                    + #""records":[{"name":"ns1.example.com"}]"#
            ),
            (
                ["two.example.com", "MX"],
                "two.example.com. 300 IN CNAME one.example.com.\none.example.com. 300 IN CNAME gone.example.com.\n"
                    + "no such name\n",
                #""name":"two.example.com","type":"mx","result":"nxdomain","ttl":null,"#
                    + #""cnames":[{"name":"two.example.com","target":"one.example.com","ttl":300},"#
                    + #"{"name":"one.example.com","target":"gone.example.com","ttl":300}],"records":[]"#
            ),
            (
                ["www.example.com", "CNAME"], "www.example.com. 300 IN CNAME example.com.\n",
                #""name":"www.example.com","type":"cname","result":"records","ttl":300,"#
                    + #""cnames":[],"records":[{"name":"example.com"}]"#
            ),
            (
                ["example.com", "SOA"], "example.com. 300 IN SOA ns1.example.com. ; minimum 60\n",
                #""name":"example.com","type":"soa","result":"records","ttl":300,"#
                    + #""cnames":[],"records":[{"primary":"ns1.example.com","minimum":60}]"#
            ),
            (
                ["txt.example.com", "TXT"], "txt.example.com. 300 IN TXT \"a \\\"quoted\\\" \\200 and \\\\ more\"\n",
                ##""name":"txt.example.com","type":"txt","result":"records","ttl":300,"##
                    + ##""cnames":[],"records":[{"text":"a \"quoted\" \##u{FFFD} and \\ more"}]"##
            ),
            (
                ["192.0.2.1"], "1.2.0.192.in-addr.arpa. 300 IN PTR mx1.example.com.\n",
                #""name":"1.2.0.192.in-addr.arpa","type":"ptr","result":"records","ttl":300,"#
                    + #""cnames":[],"records":[{"name":"mx1.example.com"}]"#
            ),
            (
                ["odd.example.com", "TYPE65280"], "odd.example.com. 300 IN TYPE65280 \\# 3 0a0b0c\n",
                #""name":"odd.example.com","type":"type65280","result":"records","ttl":300,"#
                    + #""cnames":[],"records":[{"octets":"0a0b0c"}]"#
            ),
            (
                ["example.com", "TXT"], "no data\n",
                #""name":"example.com","type":"txt","result":"nodata","ttl":null,"cnames":[],"records":[]"#
            ),
            (
                ["no.example.com"], "no such name\n",
                #""name":"no.example.com","type":"a","result":"nxdomain","ttl":null,"cnames":[],"records":[]"#
            ),
        ] as [([String], String, String)])
    func answers(words: [String], text: String, json: String) throws {
        let postern = Postern(zone: zone)
        let result = try postern.run(["dns", "query"] + words)
        #expect(result.text == text)
        #expect(result.status == 0)
        #expect(result.resolvers == [.daemon(.unix(path: "/run/postern/dns.sock"))])
        let other = try postern.run(["dns", "query"] + words + ["--json"])
        #expect(other.text == "{\(json),\"reason\":null}\n")
        #expect(other.status == 0)
    }

    @Test("nobody could tell") func failure() throws {
        let postern = Postern(zone: zone, failing: [try DomainName("example.com")])
        let result = try postern("dns", "query", "example.com")
        #expect(result.text == "temporary failure: SERVFAIL\n")
        #expect(result.status == 69)
        let json = try postern("dns", "query", "example.com", "--json")
        #expect(
            json.text
                == #"{"name":"example.com","type":"a","result":"temperror","ttl":null,"#
                + #""cnames":[],"records":[],"reason":"SERVFAIL"}"#
                + "\n")
        #expect(json.status == 69)
    }

    @Test("no postern-dns: a warning, advice, 69") func down() throws {
        let folder = try Folder()
        var surroundings = Surroundings.process
        surroundings.now = { UnixTime(seconds: 0) }
        let output = AdminCommandLine.output(
            of: ["dns", "query", "example.com", "--resolver", "unix:\(folder.file("none.sock"))"], in: surroundings)
        #expect(output.status == .unavailable)
        #expect(output.notes.first?.hasPrefix("warning: postern-dns does not answer") == true)
        #expect(output.notes.last?.contains("--resolver") == true)
    }

    @Test("the configuration says whom to ask, and need not be right where --resolver does") func configured() throws {
        let folder = try Folder()
        let right = try folder.write("[listen]\ndns = [\"tcp:127.0.0.1:5300\"]\n", to: "right.toml")
        let result = try Postern(zone: zone)("--config", right, "dns", "query", "example.com")
        #expect(result.resolvers == [.daemon(.tcp(host: "127.0.0.1", port: 5300))])
        let wrong = try folder.write("[listen]\ndns = 5\n", to: "wrong.toml")
        #expect(try Postern(zone: zone)("--config", wrong, "dns", "query", "example.com").status == 78)
        let other = try Postern(zone: zone)("--config", wrong, "--resolver", "::1", "dns", "query", "example.com")
        #expect(other.status == 0)
        #expect(other.resolvers == [.server(.v6(0, 1), port: 53)])
    }

    @Test("the root can be asked") func root() throws {
        #expect(
            try Postern(zone: ". 60 NS ns.example.\n")("dns", "query", ".", "NS").text == ". 60 IN NS ns.example.\n")
    }
}
