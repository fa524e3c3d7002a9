import PosternMail
import Synchronization
import TestSupport
import Testing

@testable import PosternForwarder

@Suite("heartbeat of postern-dns")
struct HeartbeatTests {
    @Test("the event loop answers while it runs; nothing happens before and after")
    func answers() throws {
        let beats = Beats()
        let endpoint = Endpoint.udp(host: "127.0.0.1", port: 0)
        let server = ForwarderServer(ForwarderSettings(upstreams: [], listen: [endpoint]), log: RecordingLog())
        server.heartbeat { beats.add() }
        try server.start()
        server.heartbeat { beats.add() }
        server.heartbeat { beats.add() }
        _ = server.counters  // asked on the loop, behind them
        #expect(beats.count == 2)
        server.stop()
        server.heartbeat { beats.add() }
        #expect(beats.count == 2)
    }

    final class Beats: Sendable {
        private let beats = Atomic<Int>(0)
        func add() { beats.add(1, ordering: .relaxed) }
        var count: Int { beats.load(ordering: .relaxed) }
    }
}
