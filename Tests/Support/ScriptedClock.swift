// A clock that shows what a test says, and moves only when it says so.

public import PosternMail
import Synchronization

public final class ScriptedClock: Sendable {
    private let time: Mutex<UnixTime>

    public init(_ time: UnixTime = UnixTime(seconds: 1_790_000_000)) { self.time = Mutex(time) }

    public func now() -> UnixTime { time.withLock { $0 } }

    /// Moves forwards, or backwards for a negative duration.
    public func advance(by duration: Duration) { time.withLock { $0 = $0 + duration } }
}
