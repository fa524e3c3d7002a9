// The client of a shared store against Debian's redis-server: what comes back, and what goes on while it is gone.

import PosternAdmission
import PosternMail
import PostfixHarness
import TestSupport
import Testing

@testable import PosternStore

func octets(_ words: String...) -> [[UInt8]] { words.map { Array($0.utf8) } }

@Suite("A shared store", .enabled(if: RedisInstance.isAvailable))
struct SharedStoreTests {
    static func store(
        _ instance: RedisInstance, timeout: Duration = .seconds(10), log: RecordingLog = RecordingLog(),
        pauses: ClosedRange<Duration> = .milliseconds(20) ... .milliseconds(200)
    ) -> SharedStore {
        let server = StoreURL.Server(host: instance.address, port: instance.port)
        return SharedStore(
            StoreURL(scheme: .redis, servers: [server], master: nil, database: 0),
            StoreSettings(url: nil, timeout: timeout), log: log, pauses: pauses)
    }

    @Test("replies are values")
    func replies() throws {
        let instance = try RedisInstance()
        let store = Self.store(instance)
        #expect(try store.command(octets("SET", "a", "1")) == .octets(Array("OK".utf8)))
        #expect(try store.command(octets("GET", "a")).text == "1")
        #expect(try store.command(octets("GET", "b")) == .null)
        #expect(try store.command(octets("INCR", "a")) == .integer(2))
        #expect(try store.command(octets("SET", "c", "")).text == "OK")
        #expect(try store.command(octets("MGET", "a", "b", "c")).array == [.octets([0x32]), .null, .octets([])])
        let any: [UInt8] = Array(0...255)
        #expect(try store.command(octets("SET", "any") + [any]).text == "OK")
        #expect(try store.command(octets("GET", "any")).octets == any)
        #expect(throws: StoreFailure.refused(.command, "ERR wrong number of arguments for 'get' command")) {
            try store.command(octets("GET"))
        }
        #expect(try store.commands([octets("GET", "a"), octets("GET", "b")]) == [.octets([0x32]), .null])
        #expect(store.isWorking && store.connections == 1)
    }

    @Test("a script is sent once with its text")
    func scripts() throws {
        let instance = try RedisInstance()
        let store = Self.store(instance)
        let script = StoreScript(name: "add", text: "return redis.call('INCRBY', KEYS[1], ARGV[1])")
        #expect(try store.run(script, keys: octets("n"), arguments: octets("2")) == .integer(2))
        #expect(try store.run(script, keys: octets("n"), arguments: octets("3")) == .integer(5))
        try instance.command("SCRIPT", "FLUSH")
        #expect(try store.run(script, keys: octets("n"), arguments: octets("1")) == .integer(6))
    }
}
