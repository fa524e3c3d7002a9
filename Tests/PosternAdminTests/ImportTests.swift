// What `postern import` makes of the settings of postgrey and postscreen, line by line: what is carried over is taken by
// whoever reads the configuration, and all else is told.

import PosternDaemon
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("import") struct ImportTests {
    /// A line and what becomes of it: values, or a part of the reason why it is left out.
    struct Row: Sendable, CustomStringConvertible {
        let line: String
        var values: [String] = []
        var reason: String?

        init(_ line: String, _ values: String...) { (self.line, self.values) = (line, values) }
        init(_ line: String, leftOut reason: String) { (self.line, self.reason) = (line, reason) }
        var description: String { line }
    }

    private static func problems(of toml: String) -> [String] {
        Configuration.read(Array(toml.utf8), file: "postern.toml", folder: "/", for: .check).problems
            .map(\.description)
    }

    private static func settings(_ text: String, _ kind: PostgreyWhitelist.Kind) -> ImportedSettings {
        PostgreyWhitelist.settings(of: [.init(name: "list", kind: kind, octets: Array(text.utf8))])
    }

    private func expect(_ row: Row, _ kind: PostgreyWhitelist.Kind, key: String) {
        let settings = Self.settings(row.line + "\n", kind)
        #expect(Self.problems(of: settings.toml) == [])
        if let reason = row.reason {
            #expect(settings.toml == "")
            #expect(settings.leftOut.count == 1)
            #expect(settings.leftOut.first?.text.contains(reason) == true, "\(settings.leftOut)")
        } else if row.values.isEmpty {
            #expect(settings == ImportedSettings())
        } else {
            let values = row.values.map { JSONLine.quoted($0) + "," }.joined(separator: " ")
            #expect(settings.toml.hasSuffix("[greylist]\n\(key) = [\n    \(values)\n]\n"), "\(settings)")
            #expect(settings.leftOut == [])
        }
    }

    // MARK: postgrey

    @Test(
        "a client that postgrey lets through",
        arguments: [
            Row(""), Row("# a word"), Row("   "),
            Row("example.com", "example.com", "*.example.com"),
            Row("  mx1.example.com\t# no retry\r", "mx1.example.com", "*.mx1.example.com"),
            Row("museum", "museum", "*.museum"),
            Row("192.0.2.7", "192.0.2.7/32"), Row("192.0.2.7/24", "192.0.2.0/24"), Row("192.0.2", "192.0.2.0/24"),
            Row("2001:db8:0:0800::1/64", "2001:db8:0:800::/64"), Row("2001:db8::1", "2001:db8::1/128"),
            Row(#"/^mail\d+\.example\.com$/"#, #"/^mail\d+\.example\.com$/"#),
            Row(#"/^(?:mail|mx)\d+-g[0-9]+\.example\.com$/"#, #"/^(?:mail|mx)\d+-g[0-9]+\.example\.com$/"#),
            Row(#"/a/b\/c/"#, #"/a\/b\/c/"#),
            Row("/(?!spam)mail/", leftOut: "(?"), Row(#"/(a)\1/"#, leftOut: "back-references"),
            Row("/a(b/", leftOut: "\")\""), Row("/a#b/", leftOut: "between two slashes"),
            Row("192.0", leftOut: "three numbers at least"), Row("192", leftOut: "expected an address or a network"),
            Row("192.0.2.300", leftOut: "expected an address or a network"),
            Row("192.0.2.0/33", leftOut: "expected an address or a network"),
            Row("192.0.2/24", leftOut: "expected an address or a network"),
            Row("2001:db8::/129", leftOut: "expected an address or a network"),
            Row("mail::example", leftOut: "expected an address or a network"),
            Row("*.example.com", leftOut: "write \"*.example.com\""),
            Row(".example.com", leftOut: "write \"*.example.com\""),
            Row("two words", leftOut: "white space"), Row("bücher.example", leftOut: "ASCII"),
            Row("a@example.com", leftOut: "expected"), Row("example..com", leftOut: "expected"),
            Row("a\"b.example\\", leftOut: "expected"),
        ])
    func client(row: Row) { expect(row, .clients, key: "skip_clients") }

    @Test(
        "a recipient that postgrey lets through",
        arguments: [
            Row("postmaster@", #"/^postmaster(\+[^@]+)?@/"#), Row("a.b@", #"/^a\.b(\+[^@]+)?@/"#),
            Row("ann@example.com", "ann@example.com", #"/^ann\+[^@]+@example\.com$/"#),
            Row("o/n+e@example.com", "o/n+e@example.com", #"/^o\/n\+e\+[^@]+@example\.com$/"#),
            Row("example.com", "example.com", "*.example.com"), Row("localhost", "@localhost", "*.localhost"),
            Row("/^ann@/", "/^ann@/"),
            Row("@example.com", leftOut: "write \"@example.com\""), Row("ann@exa mple.com", leftOut: "white space"),
            Row("ann@exa%mple.com", leftOut: "expected"), Row(".example.com", leftOut: "write \"*.example.com\""),
        ])
    func recipient(row: Row) { expect(row, .recipients, key: "skip_recipients") }

    @Test("files together make one table, and what is left out keeps its line")
    func filesTogether() {
        let settings = PostgreyWhitelist.settings(of: [
            .init(name: "c", kind: .clients, octets: Array("a.example\n\n/(?=x)/\nb.example\na.example\n".utf8)),
            .init(name: "r", kind: .recipients, octets: Array("abuse@\ntwo words\n/[/\n".utf8)),
        ])
        #expect(Self.problems(of: settings.toml) == [])
        #expect(
            settings.toml == #"""
                # postgrey lets all other clients wait, which is: clients = "all"
                [greylist]
                skip_clients = [
                    "a.example", "*.a.example",
                    "b.example", "*.b.example",
                ]
                skip_recipients = [
                    "/^abuse(\\+[^@]+)?@/",
                ]

                """#)
        #expect(settings.leftOut.map { "\($0.line.file):\($0.line.number)" } == ["c:3", "r:2", "r:3"])
    }

    @Test("more expressions than a list may have are left out")
    func tooManyExpressions() {
        let lines = (1...1002).map { "/^mx\($0)\\./\n" }.joined()
        let settings = Self.settings(lines, .clients)
        #expect(settings.leftOut.map(\.line.number) == [1001, 1002])
        #expect(Self.problems(of: settings.toml) == [])
    }

    // MARK: postscreen

    private static let any = "127.[0..254].[0..255].[0..255]"

    private static func lists(_ text: String) -> ImportedSettings? {
        PostscreenLists.settings(of: Array(text.utf8), file: "main.cf")
    }

    @Test(
        "an entry of postscreen_dnsbl_sites",
        arguments: [
            Row("example.com", "{ \"\(any)\" = 1 }"), Row("example.com*3", "{ \"\(any)\" = 3 }"),
            Row("EXAMPLE.com.*-2", "{ \"\(any)\" = -2 }"), Row("example.com*+2", "{ \"\(any)\" = 2 }"),
            Row("example.com=127.0.0.4", "{ \"127.0.0.4\" = 1 }"),
            Row("example.com=127.0.0.[2..4;10]*-5", "{ \"127.0.0.[2..4;10]\" = -5 }"),
            Row("example.com=127.0.[0..255].0*0", "{ \"127.0.[0..255].0\" = 0 }"),
            Row("example.com*", leftOut: "integer after *"), Row("example.com*2x", leftOut: "integer after *"),
            Row("example.com*2=127.0.0.2", leftOut: "integer after *"),
            Row("example.com*1001", leftOut: "from -1000 to 1000"),
            Row("example.com=", leftOut: "an answer such as"), Row("example.com=127.0.0", leftOut: "an answer such as"),
            Row("example.com=127.0.0.[4..2]", leftOut: "an answer such as"),
            Row("example.com=127.0.0.1", leftOut: "never do"), Row("example.com=127.255.255.254", leftOut: "never do"),
            Row("example.com=192.0.2.1", leftOut: "127.0.0.0/8"),
            Row("example", leftOut: "expected a zone"), Row("=127.0.0.2", leftOut: "expected a zone"),
            Row("$lists", leftOut: "postconf -nx"), Row("hash:/etc/postfix/lists", leftOut: "files and tables"),
            Row("/etc/postfix/lists", leftOut: "files and tables"), Row("bücher.example", leftOut: "ASCII"),
        ])
    func site(row: Row) throws {
        let settings = try #require(Self.lists("postscreen_dnsbl_sites = \(row.line)\n"))
        #expect(Self.problems(of: settings.toml) == [])
        let list = row.values.map { "\n[[dnsbl.list]]\nzone = \"example.com\"\nscores = \($0)\n" }.joined()
        #expect(settings.toml == "[dnsbl]\nreject_score = 1\n" + list)
        #expect(settings.leftOut.count == (row.reason == nil ? 0 : 1))
        #expect(settings.leftOut.first?.text.contains(row.reason ?? "") != false, "\(settings.leftOut)")
    }

    @Test(
        "a parameter beside the lists",
        arguments: [
            Row("threshold = 3", "reject_score = 3"), Row("threshold=1000", "reject_score = 1000"),
            Row("timeout = 5s", "reject_score = 1", "budget = \"5s\""),
            Row("timeout = 7", "reject_score = 1", "budget = \"7s\""),
            Row("action = ignore", "reject_score = 1", "shadow = true"), Row("action = drop", "reject_score = 1"),
            Row("allowlist_threshold = 0", "reject_score = 1"),
            Row("threshold = 0", leftOut: "from 1 on"), Row("threshold = x", leftOut: "from 1 on"),
            Row("threshold = 1001", leftOut: "dnsbl.reject_score"), Row("timeout = 10s", leftOut: "dnsbl.budget"),
            Row("timeout = \"\\", leftOut: "dnsbl.budget"), Row("action = perhaps", leftOut: "enforce"),
            Row("allowlist_threshold = -2", leftOut: "other tests"), Row("reply_map = texthash:/x", leftOut: "hides"),
            Row("max_ttl = 1h", leftOut: "as long as"), Row("new = 1", leftOut: "nothing like it"),
        ])
    func parameter(row: Row) throws {
        let settings = try #require(Self.lists("postscreen_dnsbl_sites =\npostscreen_dnsbl_\(row.line)\n"))
        #expect(Self.problems(of: settings.toml) == [])
        let lines = row.reason == nil ? row.values : ["reject_score = 1"]
        #expect(settings.toml == "[dnsbl]\n" + lines.map { $0 + "\n" }.joined())
        #expect(settings.leftOut.map(\.line.number) == (row.reason == nil ? [] : [2]))
        #expect(settings.leftOut.first?.text.contains(row.reason ?? "") != false, "\(settings.leftOut)")
    }

    @Test("logical lines of main.cf, and entries of one zone")
    func mainParameters() throws {
        let settings = try #require(
            Self.lists(
                """
                myhostname = mx.example.com
                postscreen_dnsbl_sites = old.example.com
                postscreen_dnsbl_threshold = 8
                postscreen_dnsbl_sites = a.example.com=127.0.0.[2..3]*3,
                # not this: c.example.com

                    B.example.com*-4\tA.example.com=127.0.0.4*5
                    a.example.com=127.0.0.[3..9]
                  a.example.com=127.0.0.[2..3]
                smtpd_banner = $myhostname
                """))
        #expect(
            settings.toml == """
                [dnsbl]
                reject_score = 8

                [[dnsbl.list]]
                zone = "a.example.com"
                scores = { "127.0.0.[2..3]" = 4, "127.0.0.4" = 5 }

                [[dnsbl.list]]
                zone = "b.example.com"
                scores = { "\(Self.any)" = -4 }

                """)
        #expect(Self.problems(of: settings.toml) == [])
        #expect(settings.leftOut.map(\.line.number) == [8])  // one answer counts for two entries
        #expect(settings.warnings.map(\.line.number) == [7])
    }

    @Test("a file without such parameters, and one with a dead list")
    func otherFiles() throws {
        #expect(Self.lists("") == nil)
        #expect(Self.lists("myhostname = mx.example.com\n postscreen_dnsbl_sites = a.example\n") == nil)
        let settings = try #require(Self.lists("postscreen_dnsbl_sites = dnsbl.sorbs.net"))
        #expect(settings.leftOut == [])
        #expect(settings.warnings.first?.text.contains("June 2024") == true)
    }

    // MARK: the command

    @Test("status, notes and JSON; a query key is on standard output alone")
    func command() throws {
        let key = "abcdefghijklmnopqrstuvwxyz"
        var postern = Postern()
        postern.input = Array("postscreen_dnsbl_sites = \(key).zen.dq.spamhaus.net*3 \(key).a.example.com*x\n".utf8)
        let result = try postern("import", "postscreen", "-")
        #expect(result.status == 1)
        #expect(result.text.contains("zone = \"\(key).zen.dq.spamhaus.net\""))
        #expect(result.notes == "standard input:1: (key).a.example.com*x: left out: expected an integer after *")
        let json = try postern("import", "postscreen", "-", "--json").json()
        #expect(json["toml"] as? String == result.text)
        #expect((json["left_out"] as? [[String: Any]])?.first?["line"] as? Int == 1)

        let folder = try Folder()
        let file = try folder.write("example.com\n", to: "whitelist_clients.local")
        #expect(try postern("import", "postgrey-whitelist", file).status == 0)
        #expect(try postern("import", "postgrey-whitelist", "-").status == 64)
        #expect(try postern("import", "postgrey-whitelist", "--clients", "--recipients", file).status == 64)
        #expect(try postern("import", "postgrey-whitelist", "--recipients", file).text.contains("skip_recipients"))
        #expect(try postern("import", "postscreen", file).status == 65)
        #expect(try postern("import", "postscreen", folder.file("none")).status == 69)
        postern.input = [UInt8](repeating: 0x0A, count: ImportedText.maxOctets + 1)
        #expect(try postern("import", "postscreen", "-").status == 65)
    }

    @Test("damaged files are carried over as far as they can be")
    func mutations() {
        let tokens = ["/", "#", "@", "=", "*", "[", "..", "]", "\n", " ", "\\", "\"", "127.0.0.2"].map {
            Array($0.utf8)
        }
        let lists = [#"/^mx\d+\.a\.example$/"#, "a.example", "192.0.2.0/24", "2001:db8::/32", "ann@a.example", "bo@"]
        Mutations.of([Array(lists.joined(separator: "\n").utf8)], tokens: tokens, count: 400, seed: 6) { octets in
            for kind in [PostgreyWhitelist.Kind.clients, .recipients] {
                let settings = PostgreyWhitelist.settings(of: [.init(name: "list", kind: kind, octets: octets)])
                #expect(Self.problems(of: settings.toml) == [], "\(octets)")
                #expect(settings.toml != "" || !settings.leftOut.isEmpty || octets.count < 20, "\(octets)")
            }
        }
        let sites = "postscreen_dnsbl_sites = a.example.com=127.0.0.[2..4;9]*3 b.example.com*-2\n, c.example.com\n"
        let main = sites + "postscreen_dnsbl_threshold = 3\npostscreen_dnsbl_timeout = 5s\n"
        Mutations.of([Array(main.utf8)], tokens: tokens, count: 400, seed: 7) { octets in
            guard let settings = PostscreenLists.settings(of: octets, file: "main.cf") else { return }
            #expect(Self.problems(of: settings.toml) == [], "\(octets)")
        }
    }
}
