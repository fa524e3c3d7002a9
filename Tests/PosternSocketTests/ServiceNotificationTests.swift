import Foundation
import PosternMail
import Testing

@testable import PosternSocket

@Suite("service notification")
struct ServiceNotificationTests {
    let folder = TemporaryFolder()

    /// systemd's end.
    static func supervisor(_ path: String) throws -> Socket {
        let socket = try Socket.make(family: AF_UNIX, type: SOCK_DGRAM, for: path)
        let address = try SocketAddress(path: path, abstract: true)
        try #require(address.withBorrowed { bind(socket.descriptor, $0, $1) } == 0)
        return socket
    }

    static func next(_ socket: borrowing Socket) throws -> String {
        var datagram: [UInt8] = []
        _ = try socket.read(into: &datagram, until: .after(ample))
        return String(decoding: datagram, as: UTF8.self)
    }

    @Test("what systemd is told", arguments: [false, true])  // sd_notify(3)
    func messages(isAbstract: Bool) throws {
        let path =
            isAbstract ? "@postern-test-\(getpid())-\(UInt64.random(in: .min ... .max))" : "\(folder.path)/notify"
        let supervisor = try Self.supervisor(path)
        let service = ServiceNotification(path: path)
        #expect(service.ready())
        #expect(try Self.next(supervisor) == "READY=1\n")
        #expect(service.ready(status: "3 keys"))
        #expect(try Self.next(supervisor) == "READY=1\nSTATUS=3 keys\n")
        #expect(service.status("one\nREADY=1"))
        #expect(try Self.next(supervisor) == "STATUS=one READY=1\n")
        #expect(service.watchdog())
        #expect(try Self.next(supervisor) == "WATCHDOG=1\n")
        let before = MonotonicTime.now().nanoseconds / 1000
        #expect(service.reloading())
        let words = try Self.next(supervisor).split(separator: "\n")
        #expect(words.first == "RELOADING=1")
        let moment = words.last.flatMap { Int64($0.dropFirst("MONOTONIC_USEC=".count)) } ?? 0
        #expect(words.last?.hasPrefix("MONOTONIC_USEC=") == true)
        #expect((before...MonotonicTime.now().nanoseconds / 1000).contains(moment))
        #expect(service.stopping(status: "waiting for 2 transactions"))
        #expect(try Self.next(supervisor) == "STOPPING=1\nSTATUS=waiting for 2 transactions\n")
    }

    @Test("nobody to tell is no failure", arguments: [nil, "", "relative", "/nonexistent/notify"])
    func nobody(_ path: String?) { #expect(!ServiceNotification(path: path).ready()) }
}
