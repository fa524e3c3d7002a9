// postern-dkim: signs our mail, verifies others', removes forged results. A milter for Postfix.
// The way of a message: PosternMilter's Callbacks -> SigningFilter -> MessageState -> PosternAuth -> Verdict -> Callbacks.

import PosternDaemon

@main
struct PosternDKIM {
    static func main() {
        Daemon.main(
            program: "postern-dkim", purpose: ConfigurationRole.dkim.purpose, role: .dkim,
            start: DKIMDaemon.start)
    }
}
