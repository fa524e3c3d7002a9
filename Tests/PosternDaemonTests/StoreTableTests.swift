// `[store]` as a whole: the password's file, certificates, and advice on what is hardly meant.

import Foundation
import PosternAdmission
import PosternMail
import Testing

@testable import PosternDaemon

@Suite("The table of the shared store")
struct StoreTableTests {
    @Test(
        "advice",
        arguments: [
            ("a server of this host", "url = \"redis://127.0.0.1\"", nil),
            ("one of a private network", "url = \"redis://10.1.2.3:6380/1\"", nil),
            ("of another", "url = \"redis://172.31.255.255\"", nil),
            ("of a third", "url = \"redis://192.168.1.1\"", nil),
            ("of a carrier's", "url = \"redis://100.127.0.1\"", nil),
            ("of an IPv6 site", "url = \"redis://[fd00::1]\"", nil),
            ("of an IPv6 link", "url = \"redis://[fe80::1]\"", nil),
            ("a name, which may be any", "url = \"redis://store.example.net\"", nil),
            ("over TLS it may be anywhere", "url = \"rediss://203.0.113.5\"", nil),
            ("Sentinels over TLS too", "url = \"rediss+sentinel://203.0.113.5,203.0.113.6/main\"", nil),
            (
                "without TLS through the Internet", "url = \"redis://203.0.113.5\"",
                "2:7: store.url: 203.0.113.5 is an address of the Internet's, and mail addresses and the password go "
                    + "there for all to read: use rediss://, or a tunnel"
            ),
            (
                "just beside a private network", "url = \"redis://172.32.0.1\"",
                "2:7: store.url: 172.32.0.1 is an address of the Internet's, and mail addresses and the password go "
                    + "there for all to read: use rediss://, or a tunnel"
            ),
            (
                "one of several Sentinels", "url = \"redis+sentinel://10.0.0.1,[2001:db8::1]/main\"",
                "2:7: store.url: 2001:db8::1 is an address of the Internet's, and mail addresses and the password go "
                    + "there for all to read: use rediss+sentinel://, or a tunnel"
            ),
            (
                "a user without a password", "url = \"redis://127.0.0.1\"\nuser = \"a\"",
                "3:8: store.user: not used: there is no password_file"
            ),
        ] as [(String, String, String?)])
    func advice(rule: String, lines: String, expected: String?) {
        let result = read("[store]\n\(lines)\n")
        #expect(result.advice.map(\.description) == (expected.map { ["postern.toml:\($0)"] } ?? []))
        #expect(result.problems == [])
    }

    @Test("the password's file: there, not empty, not everybody's; the certificates' too")
    func files() throws {
        let folder = try TemporaryFolder()
        try folder.write("good", "secret\n", mode: 0o640)
        try folder.write("open", "secret\n", mode: 0o644)
        try folder.write("empty", "\nsecret\n", mode: 0o600)
        try folder.write("ca.pem", "-----BEGIN CERTIFICATE-----\n", mode: 0o644)
        let path = printable(folder.path)
        func result(_ lines: String) -> LoadResult {
            read(Array("[store]\nurl = \"rediss://a.example\"\n\(lines)\n".utf8), folder: folder.path, for: .policy)
        }
        #expect(result("password_file = \"good\"\nca_file = \"ca.pem\"").problems == [])
        #expect(result("password_file = \"good\"\nca_file = \"ca.pem\"").advice == [])
        #expect(
            result("password_file = \"open\"").advice.map(\.text) == [
                "everyone on this host can read it, mode 0644: chown root:postern and chmod 0640 \(path)/open"
            ])
        let problems = [
            (
                "password_file = \"absent\"",
                "expected a readable file \(path)/absent, found \"No such file or directory\""
            ),
            (
                "password_file = \"empty\"",
                "expected the password in the file's first line, found an empty one in \(path)/empty"
            ),
            ("ca_file = \"good\"", "expected certificates in PEM, found none in \(path)/good"),
        ]
        for (line, text) in problems {
            let result = result(line)
            #expect(result.problems.map(\.text) == [text])
            // The store is spare: a daemon starts without it.
            #expect(result.configuration?.store.url != nil)
        }
        let unused = read(
            Array("[store]\nurl = \"redis://a.example\"\nca_file = \"ca.pem\"\n".utf8), folder: folder.path, for: .check
        )
        #expect(unused.advice.map(\.text) == ["not used: there is no TLS without rediss:// or rediss+sentinel://"])
        let lonely = read(Array("[store]\npassword_file = \"good\"\n".utf8), folder: folder.path, for: .check)
        #expect(lonely.advice.map(\.text) == ["nothing is shared: there is no url"])
    }

    @Test("a wrong [store] is told, and lets every daemon start; reload and check refuse it")
    func spare() {
        for role in [ConfigurationRole.policy, .rate, .dkim] {
            let result = read(Array("[store]\nurl = \"http://a.example\"\n".utf8), folder: "/nonexistent", for: role)
            #expect(result.problems.count == 1 && result.flawless == nil)
            #expect(result.configuration?.store.url == nil && result.configuration != nil)
        }
    }
}
