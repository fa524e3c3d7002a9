// How one question was answered, step by step: what the cache had, who was asked, what came of it and when. Asked by the
// admin on the control socket, on the same way as any client's question.

public import PosternDNS
import PosternMail

/// The way of one question.
public struct ForwarderTrace: Hashable, Sendable {
    /// What the cache had when it was asked.
    public let standing: Cache.Standing
    /// In their order.
    public let steps: [Step]
    /// What a client was answered, and how many seconds ago that was true.
    public let body: ResponseBody
    public let elapsed: UInt32
    /// Where it came from.
    public let source: Source
    /// How long the answer took.
    public let time: Duration

    public enum Source: String, Hashable, Sendable {
        case staticZone = "static"
        case cache
        /// What the cache had was no longer fresh, and upstreams failed. Source: RFC 8767.
        case stale
        case upstream
    }

    public struct Step: Hashable, Sendable {
        /// Since the question was asked.
        public let time: Duration
        public let upstream: Upstream
        public let event: Event
    }

    public enum Event: Hashable, Sendable {
        /// A query was sent.
        case asked(isStream: Bool, withEDNS: Bool)
        /// Nothing of use came, and somebody else, or the same in another way, is asked.
        case failed(String)
        /// What came was not the reply to our question.
        case ignored
        case answered(in: Duration)
    }
}

/// Notes the steps of an inquiry; used on the event loop alone.
final class TraceRecorder {
    private let began: UnixTime
    private(set) var steps: [ForwarderTrace.Step] = []
    /// An inquiry sends at most 16 queries; forgeries could be many more.
    static let maxSteps = 64

    init(began: UnixTime) { self.began = began }

    func note(_ event: ForwarderTrace.Event, _ upstream: Upstream, now: UnixTime) {
        guard steps.count < Self.maxSteps else { return }
        steps.append(ForwarderTrace.Step(time: now - began, upstream: upstream, event: event))
    }
}
