// A server that is no Redis, or a bad one: it answers the client's probes as a working one would, and all else as it
// was told. For what Debian's redis-server never does.

import Glibc
import PosternMail
import PostfixHarness
import Synchronization

@testable import PosternStore

final class FakeStoreServer: Sendable {
    /// What it answers with.
    enum Manner: Sendable {
        case silence
        /// Sends the octets, and keeps the connection.
        case says([UInt8])
        /// Sends the octets again and again.
        case repeats([UInt8])
        /// Sends the octets one by one, with milliseconds in between.
        case drips([UInt8], milliseconds: UInt32)
        case closes
        /// Ends the connection by a reset.
        case resets
    }

    let port: UInt16
    private let listener: Int32
    private let manner: Mutex<Manner>
    private let takesProbes: Bool
    private let isEnding = Atomic(false)
    private let accepted = Atomic(0)

    /// Connections until now.
    var connections: Int { accepted.load(ordering: .relaxed) }

    /// - Parameter takesProbes: it answers the client's probes as a working server does.
    init(_ manner: Manner, takesProbes: Bool = true) throws {
        self.manner = Mutex(manner)
        self.takesProbes = takesProbes
        port = try FreePort.tcp()
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(listener, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        guard listener >= 0, status == 0, listen(listener, 100) == 0 else { throw HarnessError("no listener") }
        pthread_detach(try SystemThread.start { [listener] in self.serve(listener) })
    }

    func become(_ manner: Manner) { self.manner.withLock { $0 = manner } }

    func end() {
        isEnding.store(true, ordering: .relaxed)
        shutdown(listener, Int32(SHUT_RDWR))
    }

    private func serve(_ listener: Int32) {
        while !isEnding.load(ordering: .relaxed) {
            let connection = accept(listener, nil, nil)
            guard connection >= 0 else { break }
            accepted.wrappingAdd(1, ordering: .relaxed)
            // A thread that is not given is a connection that nobody answers.
            if let thread = try? SystemThread.start(body: { self.answer(connection) }) { pthread_detach(thread) }
        }
        close(listener)
    }

    private func answer(_ connection: Int32) {
        defer { close(connection) }
        while true {
            var octets = [UInt8](repeating: 0, count: 65_536)
            let count = recv(connection, &octets, octets.count, 0)
            guard count > 0 else { return }
            if takesProbes, octets.prefix(count).firstRange(of: StoreKeeper.probeKey) != nil {
                say(Array("*2\r\n$1\r\n1\r\n$1\r\n2\r\n".utf8), connection)
                continue
            }
            switch manner.withLock({ $0 }) {
            case .silence: continue
            case .says(let text): say(text, connection)
            case .repeats(let text): while say(text, connection) {}
            case .drips(let text, let milliseconds):
                for octet in text {
                    guard say([octet], connection) else { return }
                    usleep(milliseconds * 1000)
                }
            case .closes: return
            case .resets:
                var linger = linger(l_onoff: 1, l_linger: 0)
                setsockopt(connection, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
                return
            }
        }
    }

    @discardableResult
    private func say(_ octets: [UInt8], _ connection: Int32) -> Bool {
        send(connection, octets, octets.count, Int32(MSG_NOSIGNAL)) == octets.count
    }
}
