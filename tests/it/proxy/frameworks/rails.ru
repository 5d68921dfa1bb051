# Reports which page the router of Rails selects for a request.

require "action_controller"

class PagesController < ActionController::Metal
  def admin = self.response_body = "admin"

  def other = self.response_body = "other"
end

routes = ActionDispatch::Routing::RouteSet.new
routes.draw do
  match "/admin", to: "pages#admin", via: :all
  match "/admin/*rest", to: "pages#admin", via: :all
  match "/*rest", to: "pages#other", via: :all
  root to: "pages#other"
end
run routes
