// How stores are, as metrics tell it: without their locks, and in their troubles.

import Foundation
import Glibc
import PosternAdmission
import PosternMail
import PostfixHarness
import TestSupport
import Testing

@testable import PosternStore

@Suite("health of stores") struct StoreHealthTests {
    /// Where no file can be made, root's included: below a file.
    static func blocked(_ folder: TemporaryFolder, _ name: String) throws -> String {
        try folder.write([], to: "file")
        return folder.path("file/\(name)")
    }

    @Test("greylist.sqlite: in trouble until it works again; its size with what belongs to it")
    func greylist() throws {
        let (folder, log, clock) = (try TemporaryFolder(), RecordingLog(), ScriptedClock())
        let path = try Self.blocked(folder, "greylist.sqlite")
        let store = GreylistStore(path: path, log: log, now: { clock.now() })
        #expect(store.health == StoreHealth(isWorking: true, octets: nil))
        store.open()
        #expect(store.health == StoreHealth(isWorking: false, octets: nil))
        try FileManager.default.removeItem(atPath: folder.path("file"))
        try FileManager.default.createDirectory(atPath: folder.path("file"), withIntermediateDirectories: false)
        clock.advance(by: .seconds(60))
        store.open()
        #expect(store.health.isWorking && store.health.octets ?? 0 > 4096)
        store.close()
    }

    @Test("facts.sqlite: what waits is told")
    func facts() throws {
        let (folder, clock) = (try TemporaryFolder(), ScriptedClock(Sample.start))
        let path = try Self.blocked(folder, "facts.sqlite")
        let store = FactStore(path: path, keep: .seconds(86_400), log: RecordingLog(), now: { clock.now() })
        store.append(try Sample.full())
        store.work()
        #expect(!store.health.isWorking && store.waitingCount == 1)
        try FileManager.default.removeItem(atPath: folder.path("file"))
        try FileManager.default.createDirectory(atPath: folder.path("file"), withIntermediateDirectories: false)
        clock.advance(by: .seconds(60))
        store.work()
        #expect(store.health.isWorking && store.waitingCount == 0)
    }

    @Test("limits.journal: when all was last on the disk")
    func limits() throws {
        let (folder, clock) = (try TemporaryFolder(), ScriptedClock())
        let path = folder.path(LimitStore.name)
        let store = LimitStore(path: path, log: RecordingLog(), wall: { clock.now() })
        store.open(now: clock.now(), writes: false)
        #expect(store.health == StoreHealth(isWorking: true, octets: nil))
        store.flush()
        let saved = clock.now()
        #expect(store.health.isWorking && store.health.saved == saved && store.health.octets ?? 0 > 0)
        // Nothing to write is as good.
        clock.advance(by: .seconds(5))
        store.flush()
        #expect(store.health.saved == clock.now())
        let last = clock.now()
        try FileManager.default.removeItem(at: folder.url)
        clock.advance(by: .seconds(60))
        store.flush()
        #expect(!store.health.isWorking && store.health.saved == last && store.health.octets == nil)
    }

    @Test("as readings: what is not known is left out")
    func readings() {
        func told(_ health: StoreHealth) -> [String] { health.readings(of: "limits").map { "\($0.name) \($0.value)" } }
        #expect(told(StoreHealth(isWorking: false, octets: nil)) == ["postern_store_working{store=\"limits\"} 0"])
        #expect(
            told(StoreHealth(isWorking: true, octets: 7, saved: UnixTime(seconds: 9))) == [
                "postern_store_working{store=\"limits\"} 1", "postern_store_octets{store=\"limits\"} 7",
                "postern_store_saved_timestamp_seconds{store=\"limits\"} 9",
            ])
    }
}
