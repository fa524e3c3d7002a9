// One SMTP session through postern-dkim. Whose mail is it: ours is signed, strangers' is verified, the rest passes; and
// from all of it every field that claims to be our results is removed. Which key signs and what a signature is worth
// is PosternAuth's; this file only leads a message past it.

import PosternAuth
import PosternDNS
import PosternMail
import PosternMilter
import PosternSocket

final class SigningFilter: Filter {
    private let service: SigningService
    private var session: SMTPSession
    private var message: MessageState?

    init(session: SMTPSession, service: SigningService) {
        self.session = session
        self.service = service
    }

    func helo(_ name: [UInt8]) { session.helo = name }
    func mail(_ envelope: Envelope) { message = MessageState(envelope: envelope, forged: .init(ids: service.ownIDs)) }
    func header(_ field: HeaderField) { message?.add(field) }
    func abort() { message = nil }

    func endOfHeader(queueID: String?) -> BodyInterest {
        message?.endOfHeader(queueID: queueID, session, service)
        return message?.wantsBody ?? .enough
    }

    func body(_ chunk: Span<UInt8>) -> BodyInterest {
        message?.prefetchKeys(service, chunk: chunk.count)
        message?.add(chunk)
        return message?.wantsBody ?? .enough
    }

    func endOfMessage() -> Verdict { conclude(isOverloaded: false) }
    func whenOverloaded() -> Verdict { conclude(isOverloaded: true) }

    private func conclude(isOverloaded: Bool) -> Verdict {
        guard let state = message else { return Verdict() }
        message = nil
        let began = MonotonicTime.now()
        let outcome = state.outcome(service, isOverloaded: isOverloaded)
        service.histograms.observe(DKIMHistogram(action: outcome.action), MonotonicTime.now() - began)
        outcome.write(to: service.log, state.envelope, from: session.client)
        return outcome.verdict
    }
}
