import Foundation
import PosternMail
import Synchronization
import Testing

@testable import PosternSocket

@Suite("sockets")
struct SocketTests {
    let folder = TemporaryFolder()
    var path: String { "\(folder.path)/a.sock" }

    static func pair() throws -> (Int32, Int32) {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        return (ends[0], ends[1])
    }

    // MARK: Listening

    @Test("a UNIX socket has the mode asked for, whatever the umask", arguments: [0o600, 0o660, 0o666] as [mode_t])
    func mode(_ mode: mode_t) throws {
        let listener = try Socket.listen(.unix(path: path), mode: mode)
        var status = stat()
        #expect(lstat(path, &status) == 0)
        #expect(status.st_mode == S_IFSOCK | mode)
        _ = listener.descriptor
    }

    @Test("a socket that a dead process left is taken over")
    func stale() throws {
        do { _ = try Socket.listen(.unix(path: path)).descriptor }  // closed, and its file stays
        #expect(FileManager.default.fileExists(atPath: path))
        let listener = try Socket.listen(.unix(path: path))
        _ = try Socket.dial(.unix(path: path), until: .after(ample)).descriptor
        let accepted = try listener.accept(until: .after(ample)) != nil
        #expect(accepted)
    }

    @Test("a living process keeps its socket")
    func alive() throws {
        let first = try Socket.listen(.unix(path: path))
        #expect(throws: SocketError.inUse(path: path)) { _ = try Socket.listen(.unix(path: path)).descriptor }
        #expect(throws: SocketError.inUse(path: path)) { try Socket.removeStale(path: path) }
        _ = try Socket.dial(.unix(path: path), until: .after(ample)).descriptor
        _ = first.descriptor
    }

    @Test("a living process with a full backlog keeps its socket too")
    func full() throws {
        let first = try Socket.listen(.unix(path: path), backlog: 0)
        let one = try Socket.dial(.unix(path: path), until: .after(ample))
        #expect(throws: SocketError.inUse(path: path)) { _ = try Socket.listen(.unix(path: path)).descriptor }
        #expect(throws: SocketError.timedOut("connect unix:\(path)")) {
            _ = try Socket.dial(.unix(path: path), until: .after(.milliseconds(20))).descriptor
        }
        _ = (first.descriptor, one.descriptor)
    }

    @Test("what is no socket is not touched")
    func file() throws {
        try Data("mail".utf8).write(to: URL(filePath: path))
        #expect(throws: SocketError.notASocket(path: path)) { _ = try Socket.listen(.unix(path: path)).descriptor }
        #expect(try String(contentsOfFile: path, encoding: .utf8) == "mail")
        let link = "\(folder.path)/link"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
        #expect(throws: SocketError.notASocket(path: link)) { try Socket.removeStale(path: link) }
    }

    @Test("nothing there is nothing to remove")
    func nothing() throws { try Socket.removeStale(path: path) }

    @Test("errors name the call, the place and the reason")
    func words() {
        let missing = "\(folder.path)/none/a.sock"
        #expect {
            _ = try Socket.listen(.unix(path: missing)).descriptor
        } throws: {
            "\($0)" == "bind unix:\(missing): No such file or directory"
        }
        #expect {
            _ = try Socket.dial(.unix(path: path), until: .after(ample)).descriptor
        } throws: {
            "\($0)" == "connect unix:\(path): No such file or directory"
        }
        #expect(throws: SocketError.badHost("dns.example")) {
            _ = try Socket.dial(.tcp(host: "dns.example", port: 53), until: .after(ample)).descriptor
        }
        let long = String(repeating: "a", count: 108)
        #expect(throws: SocketError.pathTooLong(long)) { _ = try Socket.listen(.unix(path: long)).descriptor }
    }

    @Test("the longest path works")  // unix(7): 107 octets and a NUL
    func longest() throws {
        let long = folder.path + "/" + String(repeating: "a", count: 106 - folder.path.utf8.count)
        #expect(long.utf8.count == Endpoint.maxPathOctets)
        let listener = try Socket.listen(.unix(path: long))
        _ = try Socket.dial(.unix(path: long), until: .after(ample)).descriptor
        _ = listener.descriptor
    }

    @Test("TCP over both families", arguments: ["127.0.0.1", "::1", "localhost"])
    func tcp(_ host: String) throws {
        let listener = try Socket.listen(.tcp(host: host, port: 0))
        let bound = listener.boundPort
        let port = try #require(bound)
        let near = try Socket.dial(.tcp(host: host, port: port), until: .after(ample))
        guard let far = try listener.accept(until: .after(ample)) else {
            Issue.record("nobody came")
            return
        }
        try near.write(Array("hello".utf8), until: .after(ample))
        near.finishWriting()
        var text: [UInt8] = []
        while try far.read(into: &text, until: .after(ample)) > 0 {}
        #expect(text == Array("hello".utf8))
    }

    @Test("nobody listens on TCP")
    func refused() throws {
        // Bound and not listening: a port that is free may be taken by another test.
        let held = Socket(owning: socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(held.descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(status == 0)
        let bound = held.boundPort
        let port = try #require(bound)
        #expect {
            _ = try Socket.dial(.tcp(host: "127.0.0.1", port: port), until: .after(ample)).descriptor
        } throws: {
            "\($0)" == "connect tcp:127.0.0.1:\(port): Connection refused"
        }
        _ = held.descriptor
    }

    @Test("an interrupted listener lets its thread go")
    func interrupt() throws {
        final class Box: Sendable {
            let socket: Socket
            init(_ socket: consuming Socket) { self.socket = socket }
        }
        let box = Box(try Socket.listen(.unix(path: path)))
        let ended = DispatchSemaphore(value: 0)
        Foundation.Thread.detachNewThread {
            while (try? box.socket.accept(until: .never)) != nil {}
            ended.signal()
        }
        box.socket.interrupt()
        ended.wait()
    }

    // MARK: Reading and writing

    @Test("read and write end at the deadline")
    func deadlines() throws {
        let (near, far) = try Self.pair()
        let one = Socket(owning: near)
        let other = Socket(owning: far)
        var text: [UInt8] = []
        #expect(throws: SocketError.timedOut("read")) { try one.read(into: &text, until: .now()) }
        #expect(throws: SocketError.timedOut("write")) {
            try one.write([UInt8](repeating: 0, count: 10_000_000), until: .after(.milliseconds(10)))
        }
        _ = other.descriptor
    }

    @Test("a peer that is gone: end of stream, then an error, never a signal")
    func gone() throws {
        let (near, far) = try Self.pair()
        let one = Socket(owning: near)
        do { _ = Socket(owning: far).descriptor }
        var text: [UInt8] = []
        #expect(try one.read(into: &text, until: .after(ample)) == 0)
        #expect(throws: SocketError.closed) { try one.write([1], until: .after(ample)) }
    }

    @Test("more than a buffer goes through in order")
    func large() throws {
        let (near, far) = try Self.pair()
        let sent = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        let done = DispatchSemaphore(value: 0)
        Foundation.Thread.detachNewThread {
            let socket = Socket(owning: near)
            try? socket.write(sent, until: .after(ample))  // the other side counts
            done.signal()
        }
        let other = Socket(owning: far)
        var text: [UInt8] = []
        while try other.read(into: &text, until: .after(ample)) > 0 {}
        done.wait()
        #expect(text == sent)
    }

    @Test("the descriptor is closed with its owner")
    func closes() throws {
        let (near, far) = try Self.pair()
        do { _ = Socket(owning: near).descriptor }
        let other = Socket(owning: far)
        var text: [UInt8] = []
        #expect(try other.read(into: &text, until: .after(ample)) == 0)
    }

    // MARK: Time

    @Test("deadlines: arithmetic, and what poll(2) gets")
    func time() {
        let now = MonotonicTime.now()
        #expect(now + .seconds(2) - now == .seconds(2))
        #expect(now < now + .nanoseconds(1))
        #expect(MonotonicTime.after(.seconds(Int64.max)) == .never)
        #expect(MonotonicTime.never.pollMilliseconds == -1)
        #expect(!MonotonicTime.never.isPast)
        #expect(MonotonicTime.now().isPast)
        #expect(MonotonicTime(nanoseconds: 0).pollMilliseconds == 0)
        #expect(MonotonicTime(nanoseconds: 0).remaining == .zero)
        #expect(MonotonicTime.after(.seconds(100)).pollMilliseconds > 90_000)
        #expect(MonotonicTime(nanoseconds: .max - 1).pollMilliseconds == .max)
    }
}
