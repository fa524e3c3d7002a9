// What the doctor reads of Postfix: postconf's output, lists with braces, times, versions; and that no output traps.

import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("doctor: postconf") struct DoctorPostfixTests {
    @Test(
        "words of a value",
        arguments: [
            ("", []), ("a", ["a"]), ("a b,c,  d", ["a", "b", "c", "d"]), ("{ a, b } c", ["{ a, b }", "c"]),
            (
                "check_policy_service { unix:p, timeout=5s }, permit",
                ["check_policy_service", "{ unix:p, timeout=5s }", "permit"]
            ),
            ("{ a { b c } d } e", ["{ a { b c } d }", "e"]), ("{ a", nil), ("a }", nil), ("{a}{b}", ["{a}{b}"]),
        ] as [(String, [String]?)]) func words(value: String, expected: [String]?)
    {
        #expect(PostfixWords.split(value) == expected)
    }

    @Test(
        "times",
        arguments: [
            ("30s", 30), ("1m", 60), ("2h", 7200), ("1d", 86_400), ("1w", 604_800), ("45", 45), ("", nil), ("s", nil),
            ("1x", nil), ("-1s", nil), ("99999999999s", nil), ("999999999w", 604_799_999_395_200),
        ] as [(String, Int?)]) func times(text: String, expected: Int?)
    {
        #expect(PostfixWords.seconds(text) == expected)
    }

    @Test(
        "a server and its settings are written as they are read",
        arguments: [
            "unix:postern/dkim.sock", "{ unix:postern/dkim.sock, default_action=accept, command_timeout=30s }",
            "{ inet:[::1]:8891, connect_timeout=10s }", "{ unix:p, { default_action = 451 4.3.5 Try later } }",
        ]) func servers(text: String) throws
    {
        #expect(try #require(PostfixServer(word: text)).text == text)
    }

    @Test("what postconf prints is read") func view() throws {
        let view = try DoctorFixture().view()
        #expect(view.version == PostfixVersion("3.7.11") && view.version < PostfixVersion("3.10.0"))
        #expect(view.services.map(\.place).prefix(2) == ["smtp/inet", "submission/inet"])
        #expect(view.services.first?.isChrooted == true && view.services.last?.isChrooted == false)
        let submission = try #require(view.services.dropFirst().first)
        #expect(view.value("milter_macro_daemon_name", submission) == "ORIGINATING")
        #expect(view.value("milter_macro_daemon_name") == "mx1.example.org")
    }

    @Test("chroot is the default before compatibility level 1", arguments: [("0", true), ("2", false), ("3.6", false)])
    func chroot(level: String, expected: Bool) throws {
        var fixture = DoctorFixture()
        fixture.main["compatibility_level"] = level
        fixture.services = [["smtp", "inet", "-", "smtpd"]]
        fixture.overrides = [:]
        #expect(try fixture.view().services.first?.isChrooted == expected)
    }

    @Test("services with slashes and addresses in their names") func names() throws {
        var fixture = DoctorFixture()
        fixture.services = [
            ["[::1]:25", "inet", "n", "smtpd -v"], ["private/x/y", "unix", "n", "spawn user=a argv=/b"],
        ]
        fixture.overrides = ["[::1]:25/inet/smtpd_milters": ""]
        let services = try fixture.view().services
        #expect(services.map(\.name) == ["[::1]:25", "private/x/y"])
        #expect(services.map(\.program) == ["smtpd", "spawn"])
        #expect(services.first?.overrides == ["smtpd_milters": ""])
    }

    @Test(
        "what is not understood is refused",
        arguments: [
            ("garbage\n", "", ""), ("a=b\n", "", ""), ("a = b\u{1B}[2J\n", "", ""), ("=\n", "", ""),
            ("a = b\na = c\n", "", ""),
            ("", "", ""), (nil, "smtp/inet/chroot = y\n", ""), (nil, "smtp = y\n", ""), (nil, "/x = y\n", ""),
            (nil, nil, "nobody/inet/a = b\n"), (nil, nil, "smtp/inet = b\n"), (nil, nil, "smtp/inet/ = b\n"),
        ] as [(String?, String?, String?)]) func refused(parameters: String?, fields: String?, overrides: String?)
    {
        let fixture = DoctorFixture()
        #expect(throws: PostconfError.self) {
            try PostfixView(
                parameters: Array((parameters ?? fixture.parameterText).utf8),
                fields: Array((fields ?? fixture.fieldText).utf8),
                overrides: Array((overrides ?? fixture.overrideText).utf8))
        }
    }

    @Test("no output traps, and what is read leads to findings that are text") func mutations() throws {
        let fixture = DoctorFixture()
        let subject = try fixture.subject()
        let tokens = ["{", "}", ",", " = ", "\n", "/inet/", "unix:", "check_policy_service ", "$$", "'", "!", "[::]/"]
            .map { Array($0.utf8) }
        let samples = [fixture.parameterText, fixture.fieldText, fixture.overrideText].map { Array($0.utf8) }
        var read = 0
        for (index, sample) in samples.enumerated() {
            Mutations.of([sample], tokens: tokens, count: 250, seed: UInt64(index) + 8) { text in
                var parts = samples
                parts[index] = text
                // What is refused is refused; the test is that nothing traps.
                guard let view = try? PostfixView(parameters: parts[0], fields: parts[1], overrides: parts[2]) else {
                    return
                }
                read += 1
                let findings = DoctorCommand.findings(
                    DoctorSubject(
                        postfix: view, configuration: subject.configuration, machine: subject.machine))
                for finding in findings {
                    for case .command(let line) in finding.mends {
                        // Whatever main.cf holds, it stays one word of the shell's.
                        #expect(!line.contains("\n"), "\(line)")
                        #expect(!line.hasPrefix("postconf ") || DoctorFixture.words(line).count == 3, "\(line)")
                    }
                }
            }
        }
        #expect(read > 40)
    }

    @Test("lists trap nothing") func listMutations() throws {
        let view = try DoctorFixture().view()
        let samples = [
            "permit_mynetworks, check_policy_service { unix:p, timeout=5s, { a = b c } }, reject_rbl_client a.example",
            "{ unix:postern/dkim.sock, default_action=accept }, inet:[::1]:8891", "check_policy_service",
            "127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128 !192.0.2.1 hash:/etc/x",
        ].map { Array($0.utf8) }
        Mutations.of(samples, tokens: ["{", "}", ",", "=", " ", "/"].map { Array($0.utf8) }, count: 4000, seed: 3) {
            octets in
            let text = String(decoding: octets, as: UTF8.self)
            for word in PostfixWords.split(text) ?? [] {
                _ = OriginFindings.network(word)
                guard let server = PostfixServer(word: word) else { continue }
                // What was read is read again from what is written.
                guard !server.settings.contains(where: { $0.value.contains("{") || $0.value.contains("}") }) else {
                    continue
                }
                let again = PostfixServer(word: server.text)
                if !server.settings.isEmpty, !server.endpoint.contains("{"), !server.endpoint.contains("}") {
                    #expect(
                        again?.endpoint == server.endpoint && again?.settings.count == server.settings.count, "\(text)")
                }
            }
            if let list = RestrictionList(text, in: view) { #expect(RestrictionList(list.text, in: view) != nil) }
            if let tight = PostfixEdit.withoutSpaces(text) { #expect(!tight.contains(" ")) }
        }
    }

    @Test(
        "shell words",
        arguments: [
            ("a", "a"), ("", "''"), ("it's", "'it'\\''s'"), ("$(x)", "'$(x)'"), ("/etc/postfix", "/etc/postfix"),
            ("a b", "'a b'"),
        ]) func quoting(text: String, expected: String)
    {
        #expect(PostfixEdit.quoted(text) == expected)
        #expect(DoctorFixture.words(expected) == [text])
    }

    @Test("a value that postconf -P cannot take is told in words") func spaces() throws {
        let service = try #require(try DoctorFixture().view().services.first)
        let mend = PostfixEdit(folder: nil).set("x", "{ unix:a, { b = c d } }", for: service, apart: true)
        #expect(mend == .advice("in master.cf, below smtp: -o { x = { unix:a, { b = c d } } }"))
    }

    @Test(
        "networks of mynetworks",
        arguments: [
            ("127.0.0.0/8", "127.0.0.0/8"), ("[::ffff:127.0.0.0]/104", "127.0.0.0/8"), ("[::1]/128", "::1/128"),
            ("[::1]", "::1/128"), ("192.0.2.1", "192.0.2.1/32"), ("[2001:db8::]/32", "2001:db8::/32"), ("hash:/x", nil),
            ("!192.0.2.1", nil), ("192.0.2.0/33", nil), ("/etc/networks", nil), ("192.0.2.7/24", "192.0.2.0/24"),
        ] as [(String, String?)]) func networks(word: String, expected: String?)
    {
        #expect(OriginFindings.network(word).map { "\($0)" } == expected)
    }
}
