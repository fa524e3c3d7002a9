// `postern status` and `postern reload` against daemons that a test plays: what they answer is data, whatever it is.

import Foundation
import Glibc
import PosternDaemon
import PosternMail
import PosternSocket
import Synchronization
import Testing

@testable import PosternAdmin

@Suite("status and reload") struct StatusTests {
    /// A folder of control sockets with daemons that give one answer to each word.
    final class Daemons: Sendable {
        let folder: Folder
        private let servers = Mutex<[ControlServer]>([])

        init(_ answers: [DaemonName: [String: String]]) throws {
            folder = try Folder()
            for (name, words) in answers {
                let endpoint = ControlSocket.endpoint(folder: folder.path, program: name.rawValue)
                let server = try ControlServer(
                    listener: try Socket.listen(endpoint), allowedUsers: [geteuid()],
                    answer: { .whole(Array((words[$0] ?? "").utf8)) }, refuse: { _ in [] })
                servers.withLock { $0.append(server) }
                Foundation.Thread.detachNewThread { server.run() }
            }
        }
        deinit { for server in servers.withLock({ $0 }) { server.stop() } }

        func run(_ words: String...) throws -> Postern.Result {
            try Postern().run(words + ["--control", folder.path])
        }
    }

    static let status = """
        {"name":"postern-dkim","version":"0.1.0","pid":812,"uptime":93784,"configuration":{"file":"/etc/p.toml",\
        "generation":3,"loaded":"2026-11-21T01:52:23.004Z","refused":{"time":"2026-11-21T02:00:00.000Z",\
        "problems":[{"file":"/etc/p.toml","line":3,"column":8,"key":"host.name","text":"expected a, found b"},\
        {"file":"/etc/p.toml","line":null,"column":null,"key":null,"text":"expected a file"}]}},\
        "open_transactions":1,"counters":[{"metric":"postern_dkim_messages_total","label":"verdict",\
        "label_value":"signed","value":12},{"metric":"postern_dkim_overloaded_total","label":null,\
        "label_value":null,"value":0},{"metric":"x_total","label":null,"label_value":null,"value":7}],\
        "last_warning":{"time":"2026-11-21T02:00:00.000Z","level":"warning","text":"look \\u001b[2J","count":4}}
        """

    @Test("a daemon's own words, laid out; what is 0 is left out; controls cannot move the cursor")
    func text() throws {
        let result = try Daemons([.dkim: ["status": Self.status]]).run("status", "dkim")
        #expect(
            result.text == """
                postern-dkim 0.1.0: up 1d 2h, pid 812, 1 open transaction
                  configuration: generation 3 of /etc/p.toml, loaded 2026-11-21T01:52:23.004Z
                  reload refused: 2026-11-21T02:00:00.000Z, problems: 2
                    /etc/p.toml:3:8: host.name: expected a, found b
                    /etc/p.toml: expected a file
                  last warning: 2026-11-21T02:00:00.000Z: look ?[2J (4 times)
                  postern_dkim_messages_total{verdict="signed"}  12
                  x_total                                        7

                """)
        #expect(result.status == 0 && result.notes.isEmpty)
    }

    @Test("daemons that not every host has are looked at where they have a socket, or are named")
    func optional() throws {
        let own = Self.status.replacing("postern-dkim", with: "postern-policy")
        let daemons = try Daemons([.policy: ["status": own], .dkim: ["status": Self.status], .dns: ["status": "{}"]])
        let object = try daemons.run("--json", "status").json()
        let names = (object["daemons"] as? [[String: Any]])?.map { $0["name"] as? String }
        #expect(names == ["postern-dns", "postern-dkim", "postern-policy"])
        #expect(try daemons.run("status", "dmarc").text == "postern-dmarc: does not run\n")
    }

    @Test("one that does not run is told, and is 69")
    func down() throws {
        let daemons = try Daemons([.dkim: ["status": Self.status]])
        let all = try daemons.run("status")
        #expect(all.status == 69)
        #expect(all.text.hasPrefix("postern-dns: does not run\n\npostern-dkim 0.1.0: up"))
        let object = try daemons.run("--json", "status").json()
        let list = object["daemons"] as? [[String: Any]]
        #expect(list?.map { $0["name"] as? String } == ["postern-dns", "postern-dkim"])
        #expect(list?.map { $0["running"] as? Bool } == [false, true])
        #expect(list?.first?["status"] is NSNull)
        let inner = list?.last?["status"] as? [String: Any]
        #expect((inner?["configuration"] as? [String: Any])?["generation"] as? Int == 3)
        #expect((inner?["counters"] as? [Any])?.count == 3)
    }

    @Test(
        "an answer that is none",
        arguments: [
            ("", "expected a JSON document, found something else at octet 0"),
            ("{\"error\":\"not\\nyou\"}", "not?you"),
            ("[", "expected a JSON document, found something else at octet 1"),
        ])
    func nonsense(_ answer: String, _ text: String) throws {
        let daemons = try Daemons([.dkim: ["status": answer, "reload": answer]])
        let status = try daemons.run("status", "postern-dkim")
        #expect(status.status == 69)
        #expect(status.text == "postern-dkim: \(text)\n")
        let reload = try daemons.run("reload", "postern-dkim")
        #expect(reload.status == 69)
        #expect(reload.notes == "error: postern-dkim: \(text)")
    }

    @Test(
        "any document is survived", arguments: ["null", "1", "[]", "{}", "{\"counters\":[1,{}],\"configuration\":[]}"])
    func strange(_ answer: String) throws {
        let daemons = try Daemons([.dkim: ["status": answer, "reload": answer]])
        #expect(try daemons.run("status", "dkim").text.hasPrefix("postern-dkim unknown: up 0s, pid unknown, 0 open"))
        let reload = try daemons.run("reload", "dkim")
        #expect(reload.status == 69)
        #expect(reload.notes == "error: postern-dkim: expected the outcome of a reload, found something else")
    }

    // MARK: Reload

    static func adopted(_ notices: String = "") -> String {
        "{\"name\":\"x\",\"result\":\"adopted\",\"generation\":4,\"problems\":[],\"notices\":[\(notices)]}"
    }
    static let refused = """
        {"name":"x","result":"refused","generation":3,"problems":[{"file":"p.toml","line":3,"column":8,\
        "key":"host.name","text":"expected a, found b"}],"notices":[]}
        """

    @Test("taken")
    func taken() throws {
        let daemons = try Daemons([
            .dkim: ["reload": Self.adopted("\"listen.dkim is another\"")], .dns: ["reload": Self.adopted()],
        ])
        let result = try daemons.run("reload")
        #expect(result.text == "postern-dns: reloaded, generation 4\npostern-dkim: reloaded, generation 4\n")
        #expect(result.notes == "warning: postern-dkim: listen.dkim is another")
        #expect(result.status == 0)
    }

    @Test("refused by one is 78, with every problem")
    func refused() throws {
        let daemons = try Daemons([.dkim: ["reload": Self.refused], .dns: ["reload": Self.adopted()]])
        let result = try daemons.run("reload")
        #expect(
            result.text == """
                postern-dns: reloaded, generation 4
                postern-dkim: refused, going on with generation 3
                p.toml:3:8: host.name: expected a, found b

                """)
        #expect(result.status == 78)
        let object = try daemons.run("reload", "--json")
        #expect(object.status == 78)
        let list = try object.json()["daemons"] as? [[String: Any]]
        #expect(list?.map { $0["result"] as? String } == ["adopted", "refused"])
        #expect(((list?.last?["problems"] as? [[String: Any]])?.first)?["line"] as? Int == 3)
    }

    @Test("those that do not run are left alone, unless they were named; none at all is 69")
    func notRunning() throws {
        let daemons = try Daemons([.dkim: ["reload": Self.adopted()]])
        let all = try daemons.run("reload")
        #expect(all.status == 0 && all.notes == "note: postern-dns does not run")
        let named = try daemons.run("reload", "dns", "dkim")
        #expect(named.status == 69 && named.notes == "error: postern-dns does not run")
        #expect(named.text == "postern-dkim: reloaded, generation 4\n")
        let none = try Daemons([:]).run("reload")
        #expect(none.status == 69)
        #expect(none.notes.hasSuffix("error: expected a running daemon, found none"))
    }

    // MARK: Finding them

    @Test("by listen.control, also in a file with mistakes; --control where it cannot be read")
    func folder() throws {
        let daemons = try Daemons([.dkim: ["reload": Self.refused]])
        let place = "[listen]\ncontrol = \"\(daemons.folder.path)\"\n"
        for text in [place, place + "[dns]\nx = 1\n", place + "[host]\nname = 5\n"] {
            try daemons.folder.write(text, to: "p.toml")
            let result = try Postern()("reload", "dkim", "--config", daemons.folder.file("p.toml"))
            #expect(result.status == 78 && result.notes.isEmpty, "\(text): \(result.notes)")
        }
        try daemons.folder.write("[[", to: "p.toml")
        let lost = try Postern()("reload", "dkim", "--config", daemons.folder.file("p.toml"))
        #expect(lost.notes.contains("cannot be read; looking for the control sockets in /run/postern, --control names"))
    }

    @Test(
        "other words are usage",
        arguments: [["status", "sendmail"], ["reload", "postern-postern-dkim"], ["reload", ""]])
    func usage(_ words: [String]) throws {
        let result = try Postern().run(words)
        #expect(result.status == 64)
        let names = "postern-dns, postern-dkim, postern-dmarc, postern-policy, postern-rate"
        #expect(result.notes.contains("expected a daemon (\(names)), found \"\(words.last ?? "")\""))
    }

    @Test(
        "uptime",
        arguments: [(0, "0s"), (-3, "0s"), (59, "59s"), (60, "1m 0s"), (3661, "1h 1m"), (86_400, "1d 0h")]
            as [(Int64, String)])
    func uptime(_ seconds: Int64, _ text: String) {
        #expect(StatusCommand.uptime(seconds) == text)
    }
}
