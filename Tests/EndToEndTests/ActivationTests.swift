// Sockets that systemd made: the test holds them as systemd does, and the daemons get copies. What comes while a daemon
// is down waits for the next one. Source: sd_listen_fds(3).

import Foundation
import Glibc
import PostfixHarness
import TestSupport
import Testing

@Suite("socket activation", .onOwnThreads) struct ActivationTests {
    /// Who makes the socket, holds it, and starts daemons with it.
    final class Holder {
        let folder: TemporaryFolder
        let path: String
        private let name: String
        private let program: String
        private let descriptor: Int32
        private var child: pid_t = 0

        /// - Parameter name: `FileDescriptorName=`.
        init(_ program: String, name: String, key: String) throws {
            self.program = try Products.path(program)
            self.name = name
            folder = try TemporaryFolder()
            path = folder.file("\(key).sock").path
            let value = key == "dns" ? "[\"unix:\(path)\"]" : "\"unix:\(path)\""
            try folder.write(
                "p.toml",
                """
                [host]
                name = "mx1.example.org"
                [listen]
                \(key) = \(value)
                control = "\(folder.path)"
                [state]
                directory = "\(folder.path)"
                [log]
                to = "stderr"
                [dns]
                upstream = ["127.0.0.1:9"]

                """)
            descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            guard descriptor >= 0 else { throw HarnessError("socket") }
            guard Self.call(bind, descriptor, path) == 0, listen(descriptor, 50) == 0 else {
                throw HarnessError("bind \(path)")
            }
        }
        deinit {
            if child > 0 { _ = try? end(SIGKILL) }  // nobody is left to be told
            close(descriptor)
        }

        /// bind(2) or connect(2).
        private static func call(
            _ call: (Int32, UnsafePointer<sockaddr>?, socklen_t) -> Int32, _ descriptor: Int32, _ path: String
        ) -> Int32 {
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix(107)) }
            return withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    call(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
        }

        func start() throws {
            var actions = posix_spawn_file_actions_t()
            posix_spawn_file_actions_init(&actions)
            defer { posix_spawn_file_actions_destroy(&actions) }
            let log = folder.file("log").path
            let configuration = folder.file("p.toml").path
            posix_spawn_file_actions_addopen(&actions, 2, log, O_WRONLY | O_CREAT | O_APPEND, 0o644)
            posix_spawn_file_actions_adddup2(&actions, descriptor, 3)
            for other in 4..<Int32(1024) { posix_spawn_file_actions_addclose(&actions, other) }
            // The process id is known to the shell alone, which becomes the daemon.
            let line = "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=\(name) exec \"$0\" --config \"$1\""
            let texts: [String] = ["/bin/sh", "-c", line, program, configuration]
            var words: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) } + [nil]
            defer { for word in words { free(word) } }
            guard posix_spawn(&child, "/bin/sh", &actions, nil, &words, environ) == 0 else {
                throw HarnessError("posix_spawn")
            }
        }

        /// Ends the daemon.
        /// - Returns: its exit status, or the signal's number negated.
        func end(_ signal: Int32) throws -> Int32 {
            try tell(signal)
            return try ended()
        }

        func tell(_ signal: Int32) throws {
            guard kill(child, signal) == 0 else { throw HarnessError("kill \(program)") }
        }

        /// Whether the daemon has the socket open.
        func isServed() throws -> Bool {
            var status = stat()
            guard fstat(descriptor, &status) == 0 else { throw HarnessError("fstat") }
            let folder = "/proc/\(child)/fd"
            return try FileManager.default.contentsOfDirectory(atPath: folder).contains { number in
                let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "\(folder)/\(number)")
                return target == "socket:[\(status.st_ino)]"  // nil: closed meanwhile
            }
        }

        /// Waits for the daemon's end.
        func ended() throws -> Int32 {
            var status: Int32 = 0
            try Await.until("the end of \(program)") { waitpid(child, &status, WNOHANG) == child }
            child = 0
            return status & 0x7F == 0 ? status >> 8 & 0xFF : -(status & 0x7F)
        }

        var log: String { (try? folder.text("log")) ?? "" }  // no file: nothing was logged

        /// Connects and writes, whether or not anybody accepts yet.
        func send(_ octets: [UInt8]) throws -> Int32 {
            let client = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            var limit = timeval(tv_sec: 600, tv_usec: 0)  // against hangs only
            setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
            guard Self.call(connect, client, path) == 0, write(client, octets, octets.count) == octets.count else {
                throw HarnessError("connect \(path)")
            }
            return client
        }

        /// Reads the beginning of an answer and hangs up.
        func answer(on client: Int32) -> [UInt8] {
            defer { close(client) }
            var octets = [UInt8](repeating: 0, count: 8)
            let count = recv(client, &octets, octets.count, Int32(MSG_WAITALL))
            return Array(octets.prefix(max(0, count)))
        }
    }

    /// Option negotiation, as Postfix begins (POSTFIX.md 5).
    static let milter: [UInt8] = [0, 0, 0, 13, 0x4F, 0, 0, 0, 6, 0, 0, 1, 0xFF, 0, 0x1F, 0xFF, 0xFF]
    /// A question for example.com's A record, in the framing of RFC 1035 §4.2.2.
    static let question: [UInt8] =
        [0, 29, 7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 7] + Array("example".utf8) + [3] + Array("com".utf8)
        + [0, 0, 1, 0, 1]
    /// A recipient that Postfix asks about.
    static let recipient = PolicyQuery().octets

    @Test(
        "what comes while a daemon is down is served by the next; the file stays",
        arguments: [
            ("dkim", milter, [0x4F], 4), ("dmarc", milter, [0x4F], 4), ("dns", question, [7, 7], 2),
            ("policy", recipient, Array("action=D".utf8), 0), ("rate", recipient, Array("action=D".utf8), 0),
        ] as [(String, [UInt8], [UInt8], Int)])
    func restart(_ key: String, _ request: [UInt8], _ reply: [UInt8], _ offset: Int) throws {
        let program = "postern-\(key)"
        // As the unit that is shipped calls it.
        let unit = SourceTree.root.appending(path: "systemd/\(program).socket")
        let name = try String(contentsOf: unit, encoding: .utf8).firstMatch(of: /\nFileDescriptorName=(\w+)\n/)
        let holder = try Holder(program, name: String(try #require(name).output.1), key: key)
        for (signal, status) in [(SIGTERM, Int32(0)), (SIGKILL, -SIGKILL), (SIGTERM, 0)] {
            let early = try holder.send(request)  // nobody runs yet
            try holder.start()
            #expect(Array(holder.answer(on: early).dropFirst(offset).prefix(reply.count)) == reply, "\(holder.log)")
            try Await.until("\(program) is ready", context: { holder.log }) { holder.log.contains(" is ready\n") }
            #expect(try holder.end(signal) == status, "\(holder.log)")
            #expect(FileManager.default.fileExists(atPath: holder.path))
            try holder.folder.write("log", "")
        }
    }

    @Test("a socket of another name is not taken for ours")
    func otherName() throws {
        let holder = try Holder("postern-dkim", name: "policy", key: "dkim")
        try holder.start()
        // Ours is not free then, since the test listens there.
        try Await.until("an end", context: { holder.log }) { holder.log.contains("giving up") }
        #expect(holder.log.contains("another process listens there"))
        #expect(try holder.end(SIGTERM) == 69)
    }
}
