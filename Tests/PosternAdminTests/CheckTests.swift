// `check`: every problem, its place, and the exit status. What is a problem is PosternDaemonTests' business.

import Foundation
import PosternDaemon
import PosternMail
import Testing

@testable import PosternAdmin

@Suite("check") struct CheckTests {
    @Test("a right file is ok") func clean() throws {
        let folder = try Folder()
        let path = try folder.write("[host]\nname = \"mx1.example.com\"\n", to: "postern.toml")
        for result in [try Postern()("check", path), try Postern()("check", "--config", path)] {
            #expect(result.text == "\(path): ok\n")
            #expect(result.status == 0)
        }
        #expect(try Postern()("check", path, "--json").text == "{\"file\":\"\(path)\",\"problems\":[]}\n")
    }

    @Test("what is right and yet hardly meant is a warning beside the answer, and no problem") func advice() throws {
        let folder = try Folder()
        let path = try folder.write("[dnsbl]\ndefer_score = 4\n", to: "postern.toml")
        let result = try Postern()("check", path)
        #expect(result.text == "\(path): ok\n")
        #expect(result.status == 0)
        #expect(
            result.output.notes == [
                "warning: \(path):2:15: dnsbl.defer_score: nobody is deferred: clients with a score of 4 are rejected"
            ])
    }

    @Test("all problems, one a line, in their order") func problems() throws {
        let folder = try Folder()
        let path = try folder.write(
            """
            [host]
            name = 5
            nam = "x"
            [dkim]
            min_rsa_bits = 10
            [[dkim.key]]
            domain = "example.com"
            selector = "s"
            file = "none.pem"

            """, to: "postern.toml")
        let result = try Postern()("check", path)
        #expect(result.status == 78)
        #expect(result.output.notes.isEmpty)
        let lines = result.text.split(separator: "\n")
        #expect(lines.count == 4)
        for (line, expected) in zip(
            lines,
            [
                "2:8: host.name: expected ", "3:1: host.nam: ", "5:16: dkim.min_rsa_bits: expected ",
                "9:8: dkim.key[1].file: expected ",
            ])
        {
            #expect(line.hasPrefix("\(path):\(expected)"), "\(line)")
            #expect(line.contains("found "))
        }
        let json = try Postern()("check", path, "--json")
        #expect(json.status == 78)
        let object = try json.json()
        #expect(object["file"] as? String == path)
        let problems = try #require(object["problems"] as? [[String: Any]])
        #expect(problems.count == 4)
        #expect(problems.allSatisfy { Set($0.keys) == ["file", "line", "column", "key", "text", "severity"] })
        #expect(problems.first?["line"] as? Int == 2 && problems.first?["column"] as? Int == 8)
        #expect(problems.first?["key"] as? String == "host.name")
        #expect(problems.allSatisfy { $0["severity"] as? String == "error" })
    }

    @Test(
        "a file that is not there, no TOML, not UTF-8",
        arguments: [
            ("absent.toml", nil), ("syntax.toml", Array("[host\n".utf8)), ("octets.toml", [0xFF, 0xFE, 0x00]),
        ] as [(String, [UInt8]?)])
    func unusable(name: String, octets: [UInt8]?) throws {
        let folder = try Folder()
        if let octets { try folder.write(octets, to: name) }
        let result = try Postern()("check", folder.file(name))
        #expect(result.status == 78)
        #expect(result.text.hasPrefix(folder.file(name) + ":"))
        #expect(result.text.contains("expected ") && result.text.contains("found"))
        let problems = try Postern()("check", folder.file(name), "--json").json()["problems"] as? [[String: Any]]
        #expect(problems?.count == 1)
        #expect((problems?.first?["line"] is NSNull) == (octets == nil))
        #expect(problems?.first?["key"] is NSNull)
    }

    @Test("key files that were not judged for the daemon's user are told") func nobody() throws {
        // A machine that has the user judges the files for it, which is another test's business.
        guard UserIdentity(named: KeyOwner.daemonUser) == nil else { return }
        let folder = try Folder()
        let path = folder.file("postern.toml")
        let made = try Postern(owner: .daemon(.current))(
            "dkim", "genkey", "--domain", "example.com", "--selector", "s", "--ed25519", "--config", path)
        #expect(made.status == 0)
        try folder.write(
            "[[dkim.key]]\ndomain = \"example.com\"\nselector = \"s\"\nfile = \"keys/example.com/s.pem\"\n",
            to: "postern.toml")
        let result = try Postern(owner: .nobody)("check", path)
        #expect(result.text == "\(path): ok\n")
        #expect(result.notes.contains("no user postern-dkim"))
        #expect(try Postern(owner: .daemon(.current))("check", path).output.notes.isEmpty)
    }

    @Test("lists that are asked by the system's public resolver are told, and by a resolver of one's own are not")
    func systemResolvers() throws {
        let folder = try Folder()
        let list = "[[dnsbl.list]]\nzone = \"zen.spamhaus.org\"\nscores = { \"127.0.0.2\" = 4 }\n"
        let zone = "[[dns.zone]]\nname = \"spamhaus.org\"\nupstream = [\"127.0.0.1:5353\"]\n"
        let google = try #require(IPAddress("8.8.4.4"))
        let own = try #require(IPAddress("192.0.2.53"))
        for (text, resolvers, isTold) in [
            (list, [own, google], true), (list, [own], false), (list, [], false), ("", [google], false),
            (zone + list, [google], false), ("[dns]\nupstream = [\"192.0.2.53\"]\n" + list, [google], false),
        ] as [(String, [IPAddress], Bool)] {
            let result = try Postern(systemResolvers: resolvers)("check", try folder.write(text, to: "p.toml"))
            #expect(result.status == 0)
            #expect(
                result.notes
                    == (isTold
                        ? "warning: /etc/resolv.conf: nameserver: DNS lists refuse or mislead public resolvers such as "
                            + "8.8.4.4 (Google): ask by one of your own, for all zones or by [[dns.zone]]" : ""),
                "\(text)")
        }
    }

    @Test("without a file, the default one") func defaultFile() throws {
        let result = try Postern()("check")
        #expect(result.text.hasPrefix(DaemonArguments.defaultConfiguration + ":"))
    }

    @Test(
        "limits that this system's Postfix does not ask about",
        arguments: [
            ("smtpd_end_of_data_restrictions = check_policy_service { unix:postern/rate.sock, timeout=5s }", "", nil),
            ("smtpd_end_of_data_restrictions =\n  # ours\n  check_policy_service unix:/run/rate.sock", "", nil),
            ("rate = check_policy_service inet:127.0.0.1:10040\nsmtpd_end_of_data_restrictions = $rate", "", nil),
            (
                "smtpd_recipient_restrictions = permit_mynetworks, check_policy_service unix:postern/rate.sock", "",
                "RCPT charges at once"
            ),
            (
                "",
                "submission inet n - y - - smtpd\n -o { smtpd_end_of_data_restrictions = check_policy_service "
                    + "{ unix:postern/rate.sock, timeout=5s } }", nil
            ),
            ("", "# -o smtpd_end_of_data_restrictions=check_policy_service,unix:postern/rate.sock", "does not ask"),
            ("smtpd_end_of_data_restrictions = check_policy_service unix:postern/policy.sock", "", "does not ask"),
        ])
    func limitHooks(_ main: String, _ master: String, _ expected: String?) throws {
        let folder = try Folder()
        let isElsewhere = main.contains("/run/") || main.contains("inet:")
        let place = main.contains("inet:") ? "inet:10040@127.0.0.1" : "unix:/run/rate.sock"
        let listen = isElsewhere ? "[listen]\nrate = \"\(place)\"\n" : ""
        let limit = """
            [[limit]]
            name = "per account"
            per = ["sasl_username"]
            count = "recipients"
            allow = "200/1h"
            action = "defer"

            """
        let file = try folder.write("[host]\nname = \"mx1.example.org\"\n" + limit + listen, to: "p.toml")
        let result = try Postern(postfixFiles: (main: main, master: master)).run(["check", file])
        #expect(result.status == 0)
        if let expected {
            #expect(result.notes.hasPrefix("warning: \(file):6:9: limit[1].count: ") && result.notes.contains(expected))
        } else {
            #expect(result.notes == "")
        }
        #expect(try Postern().run(["check", file]).notes == "", "without a Postfix nothing is said of it")
    }
}
