// `dkim keys` and `show`: what the configuration says, as text and JSON.

import Foundation
import Glibc
import PosternDaemon
import Testing

@testable import PosternAdmin

@Suite("dkim keys") struct KeysTests {
    private let keys: Keys
    init() throws { keys = try Keys() }

    @Test("each key with its file and whom it signs for") func list() throws {
        let config = try keys.configuration(
            "", more: "from = [\"*@example.com\", \"ann@example.org\"]\nusers = [\"ann\", \"b o\"]")
        let control = keys.folder.path  // nobody answers there
        let result = try Postern()("dkim", "keys", "--config", config, "--control", control)
        #expect(result.status == 0)
        #expect(result.output.notes.isEmpty)
        #expect(result.resolvers.isEmpty)
        #expect(
            result.text == """
                r._domainkey.example.com
                  domain    example.com
                  selector  r
                  key       rsa-sha256, 2048 bits
                  file      \(keys.folder.file("r.pem"))
                  state     ok
                  signing   not known: postern-dkim does not run
                  from      example.com and its subdomains
                  users     none

                e._domainkey.example.com
                  domain    example.com
                  selector  e
                  key       ed25519-sha256, 256 bits
                  file      \(keys.folder.file("e.pem"))
                  state     ok
                  signing   not known: postern-dkim does not run
                  from      *@example.com, ann@example.org
                  users     ann, b o

                """)
        let unknown =
            #""made":null,"signs":null,"published":null,"last_use":null,"record_may_go":null"#
        #expect(
            try Postern()("dkim", "keys", "--config", config, "--json", "--control", control).text
                == #"{"keys":[{"domain":"example.com","selector":"r","name":"r._domainkey.example.com","#
                + #""algorithm":"rsa-sha256","bits":2048,"file":"\#(keys.folder.file("r.pem"))","problem":null,"#
                + #""from":null,"users":[],\#(unknown)},{"domain":"example.com","selector":"e","#
                + #""name":"e._domainkey.example.com","algorithm":"ed25519-sha256","bits":256,"#
                + #""file":"\#(keys.folder.file("e.pem"))","problem":null,"#
                + #""from":["*@example.com","ann@example.org"],"users":["ann","b o"],\#(unknown)}]}"# + "\n")
    }

    @Test(
        "a file that cannot be used is told beside it; the others are listed",
        arguments: [
            ("open to everyone", "mode 0444, open for everyone"), ("gone", "\"No such file or directory\""),
            ("empty", "an empty file"), ("a folder", "a folder"),
        ])
    func badFile(name: String, expected: String) throws {
        let config = try keys.configuration()
        let path = keys.folder.file("r.pem")
        let isSpoilt =
            switch name {
            case "open to everyone": chmod(path, 0o444) == 0
            case "gone": unlink(path) == 0
            case "empty": chmod(path, 0o600) == 0 && truncate(path, 0) == 0
            default: unlink(path) == 0 && mkdir(path, 0o700) == 0
            }
        try #require(isSpoilt)
        let result = try Postern()("dkim", "keys", "--config", config)
        #expect(result.status == 78)
        #expect(result.output.notes.isEmpty)
        let state = try #require(result.text.split(separator: "\n").first { $0.hasPrefix("  state") })
        #expect(state.hasPrefix("  state     expected ") && state.contains(", found ") && state.contains(expected))
        #expect(result.text.contains("  key       unknown\n") && result.text.contains("ed25519-sha256, 256 bits"))
        let json = try Postern()("dkim", "keys", "--config", config, "--json")
        #expect(json.status == 78)
        let first = try #require((try json.json()["keys"] as? [[String: Any]])?.first)
        #expect(first["algorithm"] is NSNull && first["bits"] is NSNull)
        #expect((first["problem"] as? String)?.contains(expected) == true)
    }

    @Test("a key of another user is judged for postern-dkim") func otherUser() throws {
        let config = try keys.configuration()
        let reader = UserIdentity(name: "postern-dkim", uid: 64_321, gid: 64_321)
        let result = try Postern(reader: reader)("dkim", "keys", "--config", config)
        #expect(result.status == 78)
        #expect(result.text.contains("user postern-dkim"))
    }

    @Test("who may not read the daemon's keys is told who may") func rights() {
        let daemon = UserIdentity(name: "postern-dkim", uid: 990, gid: 990)
        #expect(KeyAdvice.onRights(of: UserIdentity(name: "ann", uid: 1000, gid: 1000), daemon: nil) == nil)
        #expect(KeyAdvice.onRights(of: UserIdentity(name: "root", uid: 0, gid: 0), daemon: daemon) == nil)
        #expect(KeyAdvice.onRights(of: daemon, daemon: daemon) == nil)
        #expect(
            KeyAdvice.onRights(of: UserIdentity(name: "ann", uid: 1000, gid: 1000), daemon: daemon)
                == "only root and user postern-dkim may read its keys; run this as one of them: sudo postern …")
    }

    @Test("two keys at one name, a key half written, a small key: all told") func warnings() throws {
        let small = try Postern()(
            "dkim", "genkey", "--domain", "example.com", "--selector", "s", "--bits", "1024", "--out",
            keys.folder.file("s.pem"))
        #expect(small.status == 0)
        let twice = try keys.configuration(
            "",
            more: """
                [[dkim.key]]
                domain = "example.com"
                selector = "r"
                file = "s.pem"
                [[dkim.key]]
                domain = "example.org"
                file = "e.pem"
                """)
        let result = try Postern()("dkim", "keys", "--config", twice)
        #expect(result.status == 78)
        #expect(result.text.components(separatedBy: "r._domainkey.example.com\n").count == 3)
        let notes = result.output.notes
        #expect(notes.count == 3)
        #expect(notes.first?.hasPrefix("error: \(twice):") == true)
        #expect(notes.first?.contains("dkim.key[3].selector: expected a key record of its own") == true)
        #expect(notes.dropFirst().first?.contains("dkim.key[4].selector: expected the key \"selector\"") == true)
        #expect(
            notes.last == "warning: r._domainkey.example.com: receivers may refuse an RSA key of 1024 bits; "
                + "RFC 8301 §3.2 wants 2048")
    }

    @Test("no keys, no file, a wrong file") func noKeys() throws {
        let empty = try keys.folder.write("", to: "empty.toml")
        let none = try Postern()("dkim", "keys", "--config", empty)
        #expect(none.status == 0)
        #expect(none.text.isEmpty)
        #expect(none.notes == "\(empty) has no [[dkim.key]]: nothing is signed")
        #expect(try Postern()("dkim", "keys", "--config", empty, "--json").text == "{\"keys\":[]}\n")
        #expect(try Postern()("dkim", "keys", "--config", keys.folder.file("no.toml")).status == 78)
        let wrong = try Postern()("dkim", "keys", "--config", try keys.configuration("listen.dkim = 5"))
        #expect(wrong.status == 78)
        #expect(wrong.notes.contains("error: ") && wrong.notes.contains("listen.dkim"))
        #expect(wrong.text.contains("  state     ok\n"))
    }
}

@Suite("show") struct ShowTests {
    private let keys: Keys
    init() throws { keys = try Keys() }

    @Test("nothing differs") func empty() throws {
        let config = try keys.folder.write("[dkim]\nverify = true\n", to: "empty.toml")
        let result = try Postern()("show", "--config", config)
        #expect(result.status == 0)
        #expect(result.text == "# \(config): nothing differs from the defaults\n")
        #expect(
            try Postern()("show", "--config", config, "--json").text
                == "{\"file\":\"\(config)\",\"all\":false,\"settings\":{}}\n")
    }

    @Test("what differs, with lists written out and absolute paths, without the keys themselves") func differences()
        throws
    {
        try keys.folder.write("192.0.2.0/24 # ours\n\n2001:db8::/32\n", to: "networks")
        let config = try keys.configuration(
            "host.networks = [\"file:networks\"]\nhost.name = \"mx1.example.com\"\ndkim.min_rsa_bits = 1024\n"
                + "dkim.author = \"login\"", more: "users = [\"a\\\"b\"]")
        let result = try Postern()("show", "--config", config)
        #expect(result.status == 0)
        #expect(
            result.text == """
                # \(config): what differs from the defaults

                [host]
                name = "mx1.example.com"
                networks = ["192.0.2.0/24", "2001:db8::/32"]

                [dkim]
                author = "login"

                [[dkim.key]]
                domain = "example.com"
                selector = "r"
                file = "\(keys.folder.file("r.pem"))"

                [[dkim.key]]
                domain = "example.com"
                selector = "e"
                file = "\(keys.folder.file("e.pem"))"
                users = ["a\\"b"]

                """)
        #expect(
            try Postern()("show", "--config", config, "--json").text
                == #"{"file":"\#(config)","all":false,"settings":{"host":{"name":"mx1.example.com","#
                + #""networks":["192.0.2.0/24","2001:db8::/32"]},"dkim":{"author":"login","key":["#
                + #"{"domain":"example.com","selector":"r","file":"\#(keys.folder.file("r.pem"))"},"#
                + #"{"domain":"example.com","selector":"e","file":"\#(keys.folder.file("e.pem"))","#
                + #""users":["a\"b"]}]}}}"# + "\n")
    }

    @Test("what is shown reads back as the same", arguments: [[], ["--all"]])
    func readsBack(options: [String]) throws {
        let config = try keys.configuration(
            "host.name = \"mx1.example.com\"\nlisten.dns = [\"udp:127.0.0.1:5300\", \"unix:/tmp/d\"]\n"
                + "dkim.expire = \"36h\"", more: "from = [\"*@example.com\"]")
        let shown = try Postern().run(["show", "--config", config] + options)
        #expect(shown.status == 0, "\(shown.notes)")
        let copy = try keys.folder.write(shown.output.octets, to: "copy.toml")
        #expect(try Postern()("check", copy).text == "\(copy): ok\n")
        let again = try Postern().run(["show", "--config", copy] + options)
        #expect(again.text == shown.text.replacing(config, with: copy))
        #expect(!shown.text.contains("PRIVATE"))
    }

    @Test("--all has every table and every key, and what is done without") func all() throws {
        let config = try keys.configuration("host.name = \"mx1.example.com\"\nhost.authserv_id = \"example.com\"")
        let text = try Postern()("show", "--all", "--config", config).text
        for line in [
            "[host]", "name = \"mx1.example.com\"", "authserv_id = \"example.com\"",
            "strip_authserv_ids = [\"example.com\", \"mx1.example.com\"]", "shadow = false", "[listen]",
            "mode = \"0660\"",
            "[log]", "level = \"info\"", "[dns]", "cache = \"64MiB\"", "# static: none", "[dkim]",
            "max_signatures = 8", "[[dkim.key]]", "# from: the domain and its subdomains", "users = []",
        ] {
            #expect("\n\(text)".contains("\n\(line)\n"), "\(line)")
        }
        let json = try Postern()("show", "--all", "--config", config, "--json").json()
        let settings = try #require(json["settings"] as? [String: [String: Any]])
        #expect(json["all"] as? Bool == true)
        #expect(settings["host"]?["shadow"] as? Bool == false)
        #expect(settings["dns"]?["static"] is NSNull)
        #expect(settings["dkim"]?["max_signatures"] as? Int == 8)
        let key = try #require((settings["dkim"]?["key"] as? [[String: Any]])?.first)
        #expect(Set(key.keys) == ["domain", "selector", "file", "directory", "from", "users"])
    }

    @Test("a query key of a DNS list is shown nowhere", arguments: [[], ["--all"], ["--json"], ["--all", "--json"]])
    func secrets(options: [String]) throws {
        let secret = "abcdefghijklmnopqrstuvwxyz"
        let config = try keys.folder.write(
            """
            [[dns.zone]]
            name = "\(secret).zen.dq.spamhaus.net"
            upstream = ["127.0.0.1:5353"]
            [[dnsbl.list]]
            zone = "\(secret).zen.dq.spamhaus.net"
            scores = { "127.0.0.[2..11]" = 4 }

            """, to: "dqs.toml")
        let result = try Postern().run(["show", config] + options)
        #expect(result.status == 0, "\(result.notes)")
        #expect(result.text.contains("(key).zen.dq.spamhaus.net"))
        #expect(!result.text.contains(secret) && !result.notes.contains(secret))
    }

    @Test("a wrong configuration, or none, is 78 with its problems") func wrong() throws {
        let config = try keys.configuration("dkim.verify = 5\nhost.nam = 1")
        let result = try Postern()("show", "--config", config)
        #expect(result.status == 78)
        #expect(result.text.isEmpty)
        #expect(result.notes.contains("dkim.verify") && result.notes.contains("host.nam"))
        let none = try Postern()("show", "--config", keys.folder.file("no.toml"))
        #expect(none.status == 78)
        let path = keys.folder.file("no.toml")
        #expect(
            none.notes == "error: \(path): expected a readable file, found \"No such file or directory\"; "
                + "name another file by --config")
    }
}
