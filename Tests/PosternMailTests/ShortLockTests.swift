// The lock for short work: one at a time, and its value goes with it.

import Dispatch
import PosternMail
import Testing

@Suite("short lock") struct ShortLockTests {
    @Test("of many threads one at a time")
    func oneAtATime() {
        let lock = ShortLock((count: 0, inside: 0, most: 0))
        DispatchQueue.concurrentPerform(iterations: 16) { _ in
            for _ in 0..<1000 {
                lock.withLock { state in
                    state.inside += 1
                    state.most = max(state.most, state.inside)
                    state.count += 1
                    state.inside -= 1
                }
            }
        }
        let state = lock.withLock { $0 }
        #expect(state.count == 16_000)
        #expect(state.most == 1)
    }

    @Test("its value is let go of with it")
    func released() {
        final class Token: Sendable {}
        weak var seen: Token?
        do {
            let lock = ShortLock(Token())
            seen = lock.withLock { $0 }
            #expect(seen != nil)
        }
        #expect(seen == nil)
    }
}
