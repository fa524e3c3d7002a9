// One SMTP session through postern-dmarc. Whose mail is it: strangers' is judged, the rest passes; and from all of it
// every field is removed that only we may write. What a message is worth is PosternAuth's; this file only leads it past.

import PosternAuth
import PosternMail
import PosternMilter
import PosternSocket

final class JudgingFilter: Filter {
    private let service: JudgingService
    private var session: SMTPSession
    private var message: MessageState?

    init(session: SMTPSession, service: JudgingService) {
        self.session = session
        self.service = service
    }

    func helo(_ name: [UInt8]) { session.helo = name }
    func mail(_ envelope: Envelope) { message = MessageState(session, envelope, service) }
    func judgeEnvelope() { message?.judgeEnvelope(service) }
    func header(_ field: HeaderField) { message?.add(field) }
    func abort() { message = nil }

    func endOfHeader(queueID: String?) -> BodyInterest {
        message?.endOfHeader(queueID: queueID, service)
        return message?.wantsBody ?? .enough
    }

    func body(_ chunk: Span<UInt8>) -> BodyInterest {
        message?.prefetch(service, chunk: chunk.count)
        message?.verification?.update(chunk)
        return message?.wantsBody ?? .enough
    }

    func endOfMessage() -> Verdict { conclude(isOverloaded: false) }
    func whenOverloaded() -> Verdict { conclude(isOverloaded: true) }

    private func conclude(isOverloaded: Bool) -> Verdict {
        guard let state = message else { return Verdict() }
        message = nil
        let began = service.clocks.monotonic()
        let outcome = state.outcome(service, isOverloaded: isOverloaded)
        service.histograms.observe(.verdict, service.clocks.monotonic() - began)
        outcome.write(to: service.log, state.envelope, from: session.client, helo: session.helo)
        return outcome.verdict
    }
}
